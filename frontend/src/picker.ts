// The query picker: find, filter, sort, step.

import { h, setAttribute, setText, uniqueId } from "./dom";
import { count } from "./format";
import { Queries, type Filter, type Sort } from "./queries";

export interface PickerEvents {
  query(id: number): void;
  help(): void;
  save(): void; // this query as a page
  audit(): void; // ask for the misses of a large gallery
  protocol(): void; // how good the ranking is, and back
}

export class Picker {
  readonly element: HTMLElement;
  private readonly who = h("h2", { class: "query-name" });
  private readonly input: HTMLInputElement;
  private readonly list: HTMLElement;
  private readonly all = h("button", { type: "button", class: "chip" });
  private readonly misses = h("button", { type: "button", class: "chip" });
  private readonly short = h("button", { type: "button", class: "chip", "data-testid": "short", hidden: true });
  readonly protocol = h("button", { type: "button", class: "link quiet", text: "How good is this ranking", "data-testid": "protocol", "aria-haspopup": "dialog", "aria-expanded": "false" });
  private readonly classes = h("select", { class: "chip", "aria-label": "class" });
  private readonly sort = h("select", { class: "chip", "aria-label": "order of the queries" });
  private readonly position = h("span", { class: "position" });
  private readonly step: Record<"previous" | "next" | "random", HTMLButtonElement>;
  private readonly page = h("button", { type: "button", class: "step", text: "\u2913", "data-testid": "save-page", "aria-label": "save this query as a page" });
  private found: number[] = [];
  private chosen = -1;
  private filter: Filter = "all";
  private current = -1;
  private shownIds: number[] | null = null;

  constructor(
    private queries: Queries,
    private readonly events: PickerEvents,
    signal: AbortSignal,
  ) {
    const listId = uniqueId("found");
    this.list = h("div", { class: "found", role: "listbox", id: listId, hidden: true, "aria-label": "queries found" });
    this.input = h("input", {
      type: "text", class: "search", placeholder: "find a name, label or id\u2026", role: "combobox", spellcheck: "false",
      autocomplete: "off", "aria-label": "find a query by name, label or id", "aria-expanded": "false",
      "aria-controls": listId, "aria-autocomplete": "list",
    });
    const button = (name: string, sign: string, keys: string) =>
      h("button", { type: "button", class: "step", title: `${name} query (${keys})`, "aria-label": `${name} query`, text: sign });
    this.step = {
      previous: button("previous", "\u2039", "["),
      next: button("next", "\u203a", "]"),
      random: button("random", "\u2684", "r"),
    };
    const help = h("button", { type: "button", class: "step", title: "keys (?)", "aria-label": "show the keys", text: "?" });
    this.element = h(
      "div",
      { class: "picker", "data-testid": "query-picker", role: "search" },
      this.who,
      h("div", { class: "combo" }, this.input, this.list),
      h("div", { class: "filters", role: "group", "aria-label": "which queries" }, this.misses, this.short, this.all, this.classes, this.sort),
      h(
        "div",
        { class: "with-steps" },
        h("div", { class: "steps" }, this.position, this.step.previous, this.step.next, this.step.random, this.page, help),
        this.protocol,
      ),
    );
    const listen = (element: HTMLElement, type: string, action: (event: any) => void) =>
      element.addEventListener(type, action, { signal });
    listen(this.all, "click", () => this.setFilter("all"));
    listen(this.misses, "click", () => this.setFilter("misses"));
    listen(this.short, "click", () => this.setFilter("short"));
    listen(this.protocol, "click", () => events.protocol());
    listen(this.classes, "change", () => this.refresh(true));
    listen(this.sort, "change", () => this.refresh());
    listen(this.step.previous, "click", () => this.go(-1));
    listen(this.step.next, "click", () => this.go(1));
    listen(this.step.random, "click", () => this.random());
    listen(help, "click", () => events.help());
    listen(this.page, "click", () => events.save());
    listen(this.input, "input", () => this.suggest());
    listen(this.input, "keydown", (event) => this.key(event));
    listen(this.input, "blur", () => this.close());
    listen(this.list, "pointerdown", (event: PointerEvent) => {
      event.preventDefault();
      const option = (event.target as HTMLElement).closest<HTMLElement>("[data-id]");
      if (option) this.take(Number(option.dataset.id));
    });
    this.learn(queries, queries.gallery.start);
  }

  /** Take a gallery, or what an audit has found about it. */
  learn(queries: Queries, filter: Filter = this.filter): void {
    this.queries = queries;
    const { gallery } = queries;
    if (this.classes.options.length !== gallery.classes.length + 1) {
      this.classes.replaceChildren(h("option", { value: "", text: "every class" }));
      for (const name of gallery.classes) this.classes.append(h("option", { value: name, text: name }));
    }
    this.classes.hidden = !queries.labelled;
    const sorts: [Sort, string][] = [["margin", "worst margin first"], ["similarity", "surest misses first"], ["protocol", ""], ["id", "by id"]];
    if (!this.sort.options.length) for (const [value, text] of sorts) this.sort.append(h("option", { value, text }));
    for (const option of this.sort.options) option.disabled = option.value !== "id" && !queries.audited;
    this.offerValues();
    if (!queries.audited && this.sort.value !== "protocol") this.sort.value = "id";
    else if (filter === "misses" && this.sort.value === "id" && this.filter !== filter) this.sort.value = "margin";
    const kept = { all: true, misses: queries.audited && queries.misses > 0, short: queries.short > 0 };
    this.filter = kept[filter] ? filter : "all";
    setText(this.all, `all ${count(queries.ids.length)}`);
    setText(this.misses, queries.audited ? `misses ${count(queries.misses)}` : queries.labelled ? "find the misses" : "misses");
    const none = !queries.labelled || (queries.audited && queries.misses === 0);
    this.misses.disabled = none;
    this.misses.title = !queries.labelled
      ? "this gallery has no labels, so nothing tells a hit from a miss"
      : queries.audited && none
        ? "every query finds an image of its own class first"
        : "queries whose best-ranked image is of another class";
    this.refresh();
  }

  /** The order by a protocol's value, and the queries that fall short of it. */
  private offerValues(): void {
    const { judgement, short } = this.queries;
    const option = this.sort.querySelector<HTMLOptionElement>("[value=protocol]")!;
    option.hidden = option.disabled = !judgement;
    if (judgement) option.textContent = `${judgement.sort.name}, worst first`;
    else if (this.sort.value === "protocol") this.sort.value = "id";
    this.short.hidden = short === 0;
    setText(this.short, `short of 1 \u00b7 ${count(short)}`);
    if (judgement) this.short.title = `queries that ${judgement.name} does not find perfect: ${judgement.sort.name} ${judgement.sort.highIsWorse ? "above" : "below"} 1`;
  }

  /** Go through the queries by the protocol's value, from the worst one on. */
  worstFirst(): void {
    this.filter = this.queries.short ? "short" : "all";
    this.sort.value = "protocol";
    this.refresh();
    const [first] = this.ids();
    if (first !== undefined) this.events.query(first);
  }

  /** Grey what shows the figures where there are none, and say why. */
  judged(no: string, open: boolean): void {
    this.protocol.disabled = no !== "";
    this.protocol.title = no || "figures, their definition, and what the index may miss (h)";
    setAttribute(this.protocol, "aria-expanded", String(open));
  }

  show(id: number): void {
    this.current = id;
    setText(this.who, `Query ${id}`);
    this.who.title = this.queries.name(id);
    this.refresh();
  }

  saving(no: string, busy: boolean): void {
    this.page.hidden = no !== "";
    this.page.disabled = busy;
    this.page.title = busy ? "packing\u2026" : "save this query as one HTML file that needs no kernel and no network";
  }

  focusSearch(): void {
    this.input.focus();
    this.input.select();
  }

  go(by: number): void {
    const ids = this.ids();
    if (ids.length === 0) return;
    const at = ids.indexOf(this.current);
    const to = at < 0 ? (by > 0 ? 0 : ids.length - 1) : (at + by + ids.length) % ids.length;
    this.events.query(ids[to]);
  }

  random(): void {
    const others = this.ids().filter((id) => id !== this.current);
    if (others.length) this.events.query(others[Math.floor(Math.random() * others.length)]);
  }

  private ids(): number[] {
    return (this.shownIds ??= this.queries.list(this.filter, this.classes.value, this.sort.value as Sort));
  }

  private setFilter(filter: Filter): void {
    if (filter === "misses" && !this.queries.audited) {
      setText(this.misses, "searching\u2026");
      this.misses.disabled = true;
      this.events.audit();
      return;
    }
    const order: Record<Filter, Sort> = { misses: "margin", short: "protocol", all: "id" };
    if (filter !== this.filter) this.sort.value = order[filter];
    this.filter = filter;
    this.refresh(filter !== "all");
  }

  private refresh(enter = false): void {
    this.shownIds = null;
    const ids = this.ids();
    setAttribute(this.all, "aria-pressed", String(this.filter === "all"));
    setAttribute(this.short, "aria-pressed", String(this.filter === "short"));
    setAttribute(this.misses, "aria-pressed", String(this.filter === "misses"));
    this.classes.classList.toggle("set", this.classes.value !== "");
    const at = ids.indexOf(this.current);
    setText(this.position, ids.length === 0 ? "none" : `${at < 0 ? "\u2013" : count(at + 1)} of ${count(ids.length)}`);
    const none = ids.length === 0 || (ids.length === 1 && at === 0);
    for (const button of Object.values(this.step)) button.disabled = none;
    if (enter && ids.length && at < 0) this.events.query(ids[0]);
  }

  private suggest(): void {
    this.found = this.queries.search(this.input.value);
    this.chosen = this.found.length ? 0 : -1;
    this.list.replaceChildren(
      ...this.found.map((id, n) => {
        const label = this.queries.label(id);
        return h(
          "div",
          { class: "option", role: "option", id: `${this.list.id}-${n}`, "data-id": id },
          h("b", { text: String(id) }),
          h("span", { class: "name", text: this.queries.name(id) }),
          label && h("span", { class: "label", text: label }),
          this.queries.isMiss(id) && h("span", { class: "missed", text: "miss" }),
        );
      }),
    );
    if (!this.found.length) this.list.append(h("div", { class: "option none", text: "no image of that name, label or id" }));
    this.list.hidden = this.input.value.trim() === "";
    this.mark();
  }

  private mark(): void {
    setAttribute(this.input, "aria-expanded", String(!this.list.hidden));
    setAttribute(this.input, "aria-activedescendant", this.chosen < 0 ? null : `${this.list.id}-${this.chosen}`);
    [...this.list.children].forEach((option, n) => setAttribute(option, "aria-selected", String(n === this.chosen)));
  }

  private take(id: number): void {
    this.input.value = "";
    this.close();
    this.events.query(id);
  }

  private close(): void {
    this.list.hidden = true;
    this.chosen = -1;
    this.mark();
  }

  private key(event: KeyboardEvent): void {
    if (event.key === "Escape") {
      this.input.value = "";
      this.close();
    } else if (event.key === "Enter") {
      if (this.chosen >= 0 && !this.list.hidden) this.take(this.found[this.chosen]);
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && this.found.length) {
      const by = event.key === "ArrowDown" ? 1 : -1;
      this.chosen = (this.chosen + by + this.found.length) % this.found.length;
      this.mark();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
