// A sheet of figures that opens beside the button that asks for it: Esc and ✕ close it, the focus goes back.

import { h, uniqueId } from "./dom";

export abstract class Sheet {
  readonly element: HTMLDialogElement;
  protected readonly said = h("p", { class: "said" });
  protected readonly body = h("div", { class: "tests", tabindex: 0, role: "region", "aria-label": "Figures" });
  protected drawn = "";
  protected back: HTMLElement | null = null;

  constructor(name: string, title: string, private readonly closed: () => void, protected readonly signal: AbortSignal) {
    const id = uniqueId(name);
    const close = h("button", { type: "button", class: "step", text: "\u2715", "aria-label": "close" });
    close.addEventListener("click", () => this.close(), { signal });
    this.element = h(
      "dialog",
      { class: `figures ${name}`, "data-testid": `${name}-panel`, "aria-labelledby": id },
      h("header", {}, h("h3", { id, text: title }), close),
      this.said,
      this.body,
    );
  }

  get open(): boolean {
    return this.element.open;
  }

  show(button: HTMLElement): void {
    if (this.open) return;
    this.back = button;
    this.place(); // first, since showing moves the focus, and with it the page
    this.element.show();
    this.body.scrollTop = 0;
    this.body.focus({ preventScroll: true });
    this.element.scrollIntoView({ block: "nearest" });
  }

  close(): void {
    if (!this.open) return;
    const inside = this.element.contains(document.activeElement);
    this.element.close();
    if (inside) this.back?.focus({ preventScroll: true });
    this.closed();
  }

  /** Put it beside its button, as large as there is room. */
  protected abstract place(): void;

  /** Whether this is other than what is drawn; an open sheet is put in its place on the way. */
  protected changed(what: unknown): boolean {
    if (!this.open) {
      this.drawn = "";
      return false;
    }
    this.place();
    const now = JSON.stringify(what);
    if (now === this.drawn) return false;
    this.drawn = now;
    return true;
  }

  /** Other content at the same place, the focus where it was. */
  protected fill(...content: (Node | string)[]): void {
    const at = this.body.scrollTop;
    const inside = this.body.contains(document.activeElement);
    this.body.replaceChildren(...content);
    this.body.scrollTop = at;
    if (inside) this.body.focus({ preventScroll: true }); // what had the focus is gone
  }
}
