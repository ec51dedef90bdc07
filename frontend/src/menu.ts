// A menu of methods: those that can be chosen with what they say and cost, the others greyed with the reason.

import { sentence } from "./caption";
import { h, setAttribute, setText, uniqueId } from "./dom";
import type { MethodMeta } from "./model";

export class MethodMenu {
  readonly element: HTMLElement;
  private readonly button: HTMLButtonElement;
  private readonly list: HTMLElement;
  private readonly options = new Map<string, HTMLElement>();
  private readonly reasons = new Map<string, HTMLElement>();

  constructor(
    label: string, testid: string, title: string, private readonly none: string | null,
    private readonly methods: MethodMeta[], private readonly choose: (name: string | null) => void, signal: AbortSignal,
  ) {
    const id = uniqueId("menu");
    const named = uniqueId("label");
    this.button = h("button", {
      type: "button", class: "choice", title, "data-testid": testid, "aria-haspopup": "listbox", "aria-expanded": "false",
      "aria-controls": id, "aria-describedby": named,
    });
    this.list = h("div", { class: "menu", role: "listbox", id, "aria-labelledby": named, hidden: true });
    const suited = methods.filter((method) => !method.reason);
    const others = methods.filter((method) => method.reason);
    if (none !== null) this.list.append(this.option("", none, "", "", testid));
    for (const method of suited) this.list.append(this.option(method.name, method.title, method.says, method.cost, testid));
    if (others.length) this.list.append(h("div", { class: "divider", role: "presentation", text: "not for this gallery or page" }));
    for (const method of others) this.list.append(this.option(method.name, method.title, method.reason, "", testid, true));
    this.element = h("div", { class: "control chooser" }, h("span", { id: named, text: label }), this.button, this.list);
    const listen = (element: HTMLElement, type: string, action: (event: any) => void) => element.addEventListener(type, action, { signal });
    listen(this.button, "click", () => (this.list.hidden ? this.open() : this.close()));
    listen(this.button, "keydown", (event: KeyboardEvent) => {
      if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
      this.open();
      event.preventDefault();
      event.stopPropagation();
    });
    listen(this.list, "click", (event: MouseEvent) => this.take((event.target as HTMLElement).closest<HTMLElement>("[data-value]")));
    listen(this.list, "keydown", (event: KeyboardEvent) => this.key(event));
    listen(this.element, "focusout", (event: FocusEvent) => {
      if (!this.element.contains(event.relatedTarget as Node | null)) this.close(false);
    });
  }

  /** Show what is chosen; what is taken elsewhere cannot be chosen here. */
  show(value: string | null, taken: string | null): void {
    const method = this.methods.find(({ name }) => name === value);
    setText(this.button, method ? sentence(method.title) : (this.none ?? ""));
    setAttribute(this.button, "data-value", value ?? "");
    this.button.classList.toggle("unset", this.none !== null && !value);
    for (const [name, option] of this.options) {
      setAttribute(option, "aria-selected", String(name === (value ?? "")));
      const own = this.methods.find((each) => each.name === name)?.reason;
      if (own) continue;
      const here = name !== "" && name === taken;
      setAttribute(option, "aria-disabled", here ? "true" : null);
      const reason = this.reasons.get(name);
      if (reason) setText(reason, here ? "on the screen already" : this.methods.find((each) => each.name === name)!.says);
    }
  }

  private option(value: string, title: string, says: string, cost: string, testid: string, greyed = false): HTMLElement {
    const about = h("span", { class: "says", text: says });
    if (says) this.reasons.set(value, about);
    const option = h(
      "div",
      { role: "option", class: "method-option", tabindex: -1, "data-value": value, "data-testid": `${testid}-option`, "aria-disabled": greyed ? "true" : undefined },
      h("b", { text: value ? sentence(title) : title }),
      says && about,
      cost && h("span", { class: "cost", text: cost }),
    );
    this.options.set(value, option);
    return option;
  }

  private open(): void {
    this.list.hidden = false;
    setAttribute(this.button, "aria-expanded", "true");
    const edge = this.element.closest(".sheet")!.getBoundingClientRect().right - 20;
    this.list.style.left = "0";
    this.list.style.left = `${Math.min(0, edge - this.list.getBoundingClientRect().right)}px`;
    const chosen = [...this.options.values()].find((option) => option.getAttribute("aria-selected") === "true");
    (chosen ?? this.options.values().next().value)?.focus({ preventScroll: true });
    chosen?.scrollIntoView?.({ block: "nearest" });
  }

  private close(back = true): void {
    if (this.list.hidden) return;
    this.list.hidden = true;
    setAttribute(this.button, "aria-expanded", "false");
    if (back) this.button.focus({ preventScroll: true });
  }

  private take(option: HTMLElement | null): void {
    if (!option || option.getAttribute("aria-disabled") === "true") return;
    this.close();
    this.choose(option.dataset.value || null);
  }

  private key(event: KeyboardEvent): void {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const all = [...this.options.values()];
    const at = all.indexOf(document.activeElement as HTMLElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to !== undefined) all[(to + all.length) % all.length].focus();
    else if (event.key === "Enter" || event.key === " ") this.take(all[at] ?? null);
    else if (event.key === "Escape") this.close();
    else if (event.key.length === 1) {
      const letter = event.key.toLowerCase();
      const turn = [...all.slice(at + 1), ...all.slice(0, at + 1)];
      turn.find((option) => option.textContent?.toLowerCase().startsWith(letter))?.focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
