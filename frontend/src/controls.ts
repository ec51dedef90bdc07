// The row of controls under the ranking.

import { h, setAttribute, setText, uniqueId } from "./dom";
import { MethodMenu } from "./menu";
import { MODES, READINGS, SCALES, type MethodMeta } from "./model";

export interface ControlEvents {
  set(name: "mode" | "reading" | "scale", value: string): void;
  method(name: string | null): void;
  compare(name: string | null): void;
  opacity(value: number, done: boolean): void;
  rankByRegion(): void;
  trust(): void;
}

/** A few choices side by side, one of them taken: a radio group. */
class Segments {
  readonly element: HTMLElement;
  private readonly buttons = new Map<string, HTMLButtonElement>();

  constructor(
    label: string, values: string[], private readonly hints: Record<string, string>, testid: string | undefined,
    private readonly choose: (value: string) => void, signal: AbortSignal,
  ) {
    const name = uniqueId("label");
    const group = h("div", { class: "segments", role: "radiogroup", "aria-labelledby": name, "data-testid": testid });
    for (const value of values) {
      const button = h("button", { type: "button", role: "radio", text: value, title: hints[value], "data-value": value });
      button.addEventListener("click", () => choose(value), { signal });
      this.buttons.set(value, button);
      group.append(button);
    }
    group.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!by) return;
      const open = values.filter((value) => !this.buttons.get(value)!.disabled);
      const at = open.findIndex((value) => this.buttons.get(value) === document.activeElement);
      const to = open[(at + by + open.length) % open.length];
      this.buttons.get(to)!.focus();
      this.choose(to);
      event.preventDefault();
      event.stopPropagation();
    }, { signal });
    this.element = h("div", { class: "control" }, h("span", { id: name, text: label }), group);
  }

  show(value: string): void {
    for (const [name, button] of this.buttons) {
      setAttribute(button, "aria-checked", String(name === value));
      button.tabIndex = name === value ? 0 : -1;
    }
  }

  forbid(value: string, reason: string): void {
    const button = this.buttons.get(value)!;
    button.disabled = reason !== "";
    button.title = reason || (this.hints[value] ?? "");
  }

  can(value: string): boolean {
    return !this.buttons.get(value)?.disabled;
  }
}

export class Controls {
  readonly element: HTMLElement;
  private readonly mode: Segments;
  private readonly reading: Segments;
  private readonly scale: Segments;
  private readonly method: MethodMenu;
  private readonly compare: MethodMenu;
  private readonly range = h("input", { type: "range", min: 0, max: 1, step: 0.05, "data-testid": "opacity", "aria-label": "opacity of the maps" });
  private readonly region = h("button", { type: "button", class: "action", text: "rank by region", "data-testid": "rank-by-region" });
  readonly trust = h("button", { type: "button", class: "link quiet", text: "How far to trust this", "data-testid": "trust", "aria-haspopup": "dialog", "aria-expanded": "false" });

  constructor(events: ControlEvents, methods: MethodMeta[], signal: AbortSignal) {
    this.mode = new Segments("map", MODES, {
      overall: "what each cell contributes to the score (1)",
      point: "the hovered point's map on every image of the ranking (2)",
      margin: "why this one and not the best of the other kind (3)",
    }, "map-mode", (value) => events.set("mode", value), signal);
    this.reading = new Segments("hover", READINGS, {
      contribution: "the exact share of the score (l switches)",
      likeness: "which cells look alike, whatever they weigh: the cosine of their local embeddings (l switches)",
    }, "reading", (value) => events.set("reading", value), signal);
    this.scale = new Segments("scale", SCALES, {
      pair: "full colour is the largest value of this pair (s switches)",
      ranking: "one scale for the whole ranking (s switches)",
    }, "scale", (value) => events.set("scale", value), signal);
    this.method = new MethodMenu("method", "method", "how explanations are computed (m: the next one)", null, methods, (name) => events.method(name), signal);
    this.compare = new MethodMenu("beside", "compare", "a second method on the same pair (c)", "none", methods, (name) => events.compare(name), signal);
    const on = (element: HTMLElement, type: string, action: () => void) => element.addEventListener(type, action, { signal });
    on(this.range, "input", () => events.opacity(Number(this.range.value), false));
    on(this.range, "change", () => events.opacity(Number(this.range.value), true));
    on(this.region, "click", () => events.rankByRegion());
    on(this.trust, "click", () => events.trust());
    this.element = h(
      "div",
      { class: "controls", role: "group", "aria-label": "Controls" },
      this.mode.element, this.reading.element,
      h("div", { class: "with-trust" }, this.method.element, this.trust), this.compare.element,
      h("label", { class: "control" }, h("span", { text: "opacity" }), this.range),
      this.scale.element,
      h("div", { class: "actions" }, this.region),
    );
  }

  show(state: { mode: string; reading: string; scale: string; method: string; compare: string | null; opacity: number }): void {
    this.mode.show(state.mode);
    this.reading.show(state.reading);
    this.scale.show(state.scale);
    this.method.show(state.method, null);
    this.compare.show(state.compare, state.method);
    if (document.activeElement !== this.range || Number(this.range.value) !== state.opacity) this.range.value = String(state.opacity);
    this.range.style.setProperty("--done", `${100 * state.opacity}%`);
  }

  can(mode: string): boolean {
    return this.mode.can(mode);
  }

  /** Grey what cannot be done, and say why. */
  limits(no: { point: string; margin: string; likeness: string; region: string }, ranked: boolean): void {
    this.mode.forbid("point", no.point);
    this.mode.forbid("margin", no.margin);
    this.reading.forbid("likeness", no.likeness);
    this.region.disabled = no.region !== "";
    this.region.title = no.region || "search the gallery for what this region contributes (g)";
    setText(this.region, ranked ? "rank by similarity" : "rank by region");
  }

  /** Grey what shows the figures where there are none, and say why. */
  trusted(no: string, open: boolean): void {
    this.trust.disabled = no !== "";
    this.trust.title = no || "what tests say of this method on this gallery (t)";
    setAttribute(this.trust, "aria-expanded", String(open));
  }
}
