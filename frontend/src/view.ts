// One Explorer on the page: it puts the state on the screen and the user's acts into the state.

import { sentence } from "./caption";
import { Controls } from "./controls";
import { h, onceAFrame } from "./dom";
import { Help } from "./help";
import { onKeys } from "./keys";
import type { GalleryMeta, MethodMeta, Mode, Model, MoreMeta, Reading, Scale, Side, Theme } from "./model";
import type { PanelEvents } from "./panel";
import { Patience } from "./patience";
import { Picker } from "./picker";
import { loadPlotly } from "./plotly";
import { nextPoint, pinAfter } from "./pointer";
import { Queries } from "./queries";
import { placeFor, Row } from "./row";
import { thumbnail, type Point, type State } from "./scene";
import { Screen } from "./screen";
import { Sheets } from "./sheets";
import { limitsOf, progressOf, restingPoint } from "./status";
import { Strip } from "./strip";
import style from "./style.css";
import { hostTheme, watchTheme } from "./theme";
import { Wishes } from "./wishes";

export class View {
  readonly root: HTMLElement;
  private readonly queries: Queries;
  private readonly methods: MethodMeta[];
  private readonly picker: Picker;
  private readonly rows: [Row, Row];
  private readonly strip: Strip;
  private readonly controls: Controls;
  private readonly help: Help;
  private readonly sheets: Sheets;
  private readonly wishes: Wishes;
  private readonly bench = h("div", { class: "bench" });
  private readonly patience: Patience;
  private screen: Screen | null = null;
  private theme: Theme = "light";
  private hover: (Point & { stamp: number; at: number }) | null = null;
  private resting: Point | null = null;
  private hovered = false;
  private saving = false;
  private beside: string | null = null; // the method last compared with
  private readonly soon: () => void;

  constructor(private readonly model: Model, el: HTMLElement, private readonly signal: AbortSignal) {
    const gallery: GalleryMeta = model.get("_gallery");
    this.methods = gallery.methods;
    this.patience = new Patience(() => this.root, signal);
    this.queries = new Queries(gallery);
    this.queries.learn(model.get("_audit"));
    this.queries.judge(model.get("_protocol")?.judgement ?? null);
    this.soon = onceAFrame(() => this.draw(), signal);
    this.help = new Help(signal);
    this.wishes = new Wishes((wish) => model.send(wish));
    const events = (n: number): PanelEvents => ({
      move: (side, row, col, stamp) => this.hoverAt({ side, row, col }, stamp, n),
      leave: (side) => this.leave(side),
      pin: (side, row, col) => this.pin(side, row, col),
      region: (region) => this.put({ region, pin: null }),
      step: (side, down, across) => this.step(side, down, across, n),
      pinHere: (side) => this.pinHere(side),
    });
    const focus = (rank: number) => this.put({ focus: rank });
    this.rows = [
      new Row("", { ...events(0), focus, end: null, again: this.soon }, signal),
      new Row("-2", { ...events(1), focus, end: () => this.put({ compare: null }), again: this.soon }, signal),
    ];
    this.strip = new Strip({
      focus,
      follow: (id) => gallery.follow && this.goTo(id),
      likeRegion: () => this.put({ ranked_by: "similarity" }),
      explainAll: () => this.explainAll(),
    }, signal);
    this.controls = new Controls({
      set: (name, value) => this.put({ [name]: value }),
      method: (name) => this.choose(name),
      compare: (name) => this.put({ compare: name }),
      opacity: (value, done) => (done ? this.put({ opacity: value }) : this.fade(value)),
      rankByRegion: () => this.rankByRegion(),
      trust: () => this.sheets.toggleTrust(),
    }, this.methods, signal);
    this.picker = new Picker(this.queries, {
      query: (id) => this.goTo(id),
      help: () => this.help.toggle(),
      save: () => this.save(),
      audit: () => model.send({ kind: "audit" }),
      protocol: () => this.sheets.toggleProtocol(),
    }, signal);
    this.sheets = new Sheets(model, this.methods, this.controls, this.picker, this.soon, signal);
    this.bench.append(...this.rows[0].elements, this.strip.element);
    this.root = h(
      "div",
      { class: "dmlviz", "data-testid": "explorer", "data-lm-suppress-shortcuts": "true", "data-jp-suppress-context-menu": "true", tabindex: -1, role: "region", "aria-label": "Similarity explorer" },
      h("style", { text: style }),
      h("div", { class: "sheet" }, this.picker.element, this.patience.message, this.bench, this.controls.element, this.help.element, ...this.sheets.elements, this.rows[0].readout.live),
    );
    el.append(this.root);
    this.listen();
    this.retheme();
    this.receive();
    loadPlotly(model).then(
      (plotly) => {
        if (signal.aborted) return;
        for (const row of this.rows) row.usePlotly(plotly);
        this.root.dataset.plotly = "ready";
      },
      (problem) => {
        this.root.dataset.plotly = "absent";
        console.warn("dmlviz draws its maps without plotly.js:", problem);
      },
    );
  }

  private get live(): boolean {
    return this.model.get("_host")?.kernel !== false;
  }

  /** The methods on the screen: one, or two side by side. */
  private chosen(): MethodMeta[] {
    const named = (name: string | null) => this.methods.find((method) => method.name === name);
    const first = named(this.model.get("method")) ?? this.methods[0];
    const second = named(this.model.get("compare"));
    return second && second !== first ? [first, second] : [first];
  }

  private state(method = this.chosen()[0]): State | null {
    const screen = this.screen;
    const item = screen?.item(this.model.get("focus"));
    if (!screen || !item) return null;
    const get = (name: string) => this.model.get(name);
    const why = item.whys.get(method.name) ?? null;
    const wanted = get("mode") as Mode;
    let mode = wanted;
    if (mode === "margin" && why && !why.margin) mode = "overall";
    if (mode === "point" && why && !why.pairwise) mode = "overall";
    return {
      screen, item, method, why, mode, wanted,
      reading: get("reading") as Reading,
      scale: get("scale") as Scale,
      theme: this.theme,
      pin: get("pin"),
      region: get("region"),
      hover: this.hover,
      resting: this.resting,
    };
  }

  // ---- drawing

  private receive(): void {
    const message = this.model.get("_screen");
    if (!message?.meta) return;
    const { meta, data } = message;
    const old = this.screen;
    this.screen = new Screen(meta, data);
    this.wishes.forget();
    if (old?.meta.query !== meta.query) {
      this.resting = null;
      this.hover = null;
    }
    old?.close();
    this.strip.show(this.screen);
    this.picker.show(meta.query);
    this.patience.arrived();
    this.patience.say("");
    this.receiveMore();
    this.soon();
  }

  private receiveMore(): void {
    const message = this.model.get("_more") as { meta: MoreMeta; data: DataView } | null;
    if (!message?.data || !this.screen || message.meta.query !== this.screen.meta.query) return;
    this.wishes.arrived(message.meta);
    this.screen.learn(message.meta, message.data);
    this.soon();
  }

  private draw(): void {
    const state = this.state();
    if (!state) return;
    const { screen, item } = state;
    const methods = this.chosen();
    if (!this.resting) this.resting = state.resting = restingPoint(state);
    this.shape(screen.query.ratio, item.picture.ratio);
    this.bench.classList.toggle("compared", methods.length > 1);
    this.rows[1].place(methods.length > 1 ? this.strip.element : null);
    if (methods[1]) this.beside = methods[1].name;
    const states = methods.map((method) => this.state(method)!);
    states.forEach((each, n) => this.rows[n].draw(each, this.wishes.failed(screen, each.method.name, item), methods.length > 1));
    const opacity = Number(this.model.get("opacity"));
    this.fade(opacity);
    const { mode, reading, scale } = state;
    this.controls.show({ mode, reading, scale, method: methods[0].name, compare: methods[1]?.name ?? null, opacity });
    this.limits(states);
    this.sheets.draw(methods, screen.meta.query, this.queries.value(screen.meta.query), this.live);
    const other = mode === "margin" ? screen.other(item) : null;
    this.strip.compare(other ? [item.rank, other.rank] : []);
    this.strip.told(progressOf(state, this.live, this.wishes));
    this.drawMaps(true);
    if (this.live) this.wishes.next(screen, item, methods, this.model.get("mode") === "margin");
  }

  /** What moves with the pointer, and nothing else. */
  private drawMaps(everything: boolean): void {
    const drawn = this.chosen().flatMap((method, n) => {
      const state = this.state(method);
      return state ? [{ state, row: this.rows[n], scene: this.rows[n].drawMaps(state, this.waitingFor(state)) }] : [];
    });
    if (!drawn.length) return;
    const { state, scene } = drawn[0];
    if (everything || state.mode === "point") {
      this.strip.draw(state.item.rank, state.theme, (each) => thumbnail(state, scene, each));
    }
    if (!this.hovered || !this.hover) return;
    this.hovered = false;
    const under = drawn[Math.min(this.hover.at, drawn.length - 1)];
    under.row.tell(under.state, under.scene, this.hover.stamp);
  }

  private waitingFor({ why, method, screen, item }: State): string {
    if (why) return "";
    if (this.wishes.failed(screen, method.name, item)) return "not explained";
    return this.live ? `${sentence(method.title)} is at work\u2026` : "this saved page does not carry this pair";
  }

  /** Give wide and tall pictures columns that make both about equally large. */
  private shape(query: number, match: number): void {
    this.bench.classList.toggle("slim", query + match < 1.4);
    for (const [name, ratio] of [["q", query], ["m", match]] as const) {
      this.bench.style.setProperty(`--${name}`, Math.min(ratio, Math.sqrt(ratio)).toFixed(3));
      this.bench.style.setProperty(`--${name}-share`, (Math.sqrt(ratio) / (Math.sqrt(query) + Math.sqrt(match))).toFixed(3));
    }
  }

  /** Grey what none of the methods on the screen can show, and say why. */
  private limits(states: State[]): void {
    const { reason = "" } = this.model.get("_host") ?? {};
    this.controls.limits(limitsOf(states, this.live, reason), states[0].screen.meta.rankedBy === "region");
    this.picker.saving(this.live ? "" : "this is the saved page", this.saving);
  }

  private fade(opacity: number): void {
    this.root.style.setProperty("--opacity", String(opacity));
  }

  private retheme(): void {
    const wanted = this.model.get("theme");
    this.theme = wanted === "light" || wanted === "dark" ? wanted : hostTheme(this.root);
    if (this.root.dataset.theme === this.theme) return;
    this.root.dataset.theme = this.theme;
    this.soon();
  }

  // ---- the user's acts

  private put(values: Record<string, unknown>): void {
    for (const [name, value] of Object.entries(values)) this.model.set(name, value);
    this.model.save_changes();
    this.soon();
  }

  private goTo(id: number): void {
    if (id === this.screen?.meta.query || !this.queries.has(id)) return;
    this.wait();
    this.put({ query: id });
  }

  private wait(): void {
    this.patience.wait(() => {
      const busy = this.methods.find(({ name }) => name === this.wishes.busy);
      return busy
        ? `${sentence(busy.title)} is still at work on the pair before; the answer comes after it.`
        : "No answer from the kernel yet: it is busy, or gone. What is on the screen still holds for its query.";
    });
  }

  private hoverAt(point: Point, stamp: number, at: number): void {
    if (this.hover && this.hover.side === point.side && this.hover.row === point.row && this.hover.col === point.col) return;
    this.hover = { ...point, stamp, at };
    this.resting = point;
    this.hovered = true;
    this.soonMaps();
  }

  private leave(side: Side): void {
    if (this.hover?.side !== side) return;
    this.hover = null;
    this.soonMaps();
  }

  private soonMaps: () => void = () => undefined;

  private pin(side: Side, row: number, col: number): void {
    const state = this.state();
    if (state) this.put({ pin: pinAfter(state.pin, placeFor(state, side), side, row, col) });
  }

  /** The point on a side that the keyboard goes on from. */
  private pointOn(side: Side): Point | null {
    return [this.hover, this.resting].find((point) => point?.side === side) ?? null;
  }

  private pinHere(side: Side): void {
    const at = this.pointOn(side);
    if (at) this.pin(side, at.row, at.col);
  }

  private step(side: Side, down: number, across: number, at: number): void {
    const state = this.state(this.chosen()[at]);
    if (!state) return;
    const [row, col] = nextPoint(placeFor(state, side), this.pointOn(side), down, across);
    this.hoverAt({ side, row, col }, performance.now(), at);
  }

  /** Explain by this method; the one that stands beside it changes places with it. */
  private choose(name: string | null): void {
    const { method, compare } = { method: this.model.get("method"), compare: this.model.get("compare") };
    if (!name || name === method) return;
    this.put(name === compare ? { method: name, compare: method } : { method: name });
  }

  private get open(): string[] {
    return this.methods.filter(({ reason }) => !reason).map(({ name }) => name);
  }

  private nextMethod(): void {
    const at = this.open.indexOf(this.model.get("method"));
    this.choose(this.open[(at + 1) % this.open.length] ?? null);
  }

  private toggleCompare(): void {
    const method = this.model.get("method");
    const others = this.open.filter((name) => name !== method);
    const last = this.beside && others.includes(this.beside) ? this.beside : others[0];
    this.put({ compare: this.model.get("compare") ? null : (last ?? null) });
  }

  private explainAll(): void {
    this.wishes.all(this.chosen()[0].name);
    this.soon();
  }

  private rankByRegion(): void {
    if (!this.live) return;
    const ranked = this.screen?.meta.rankedBy === "region";
    if (!ranked && !this.model.get("region")) return;
    this.wait();
    this.put({ ranked_by: ranked ? "similarity" : "region" });
  }

  private save(): void {
    this.saving = true;
    this.soon();
    this.model.send({ kind: "save" });
  }

  private letGo(): void {
    if (this.help.element.open) return this.help.element.close();
    if (this.sheets.close()) return;
    if (this.model.get("pin")) this.put({ pin: null });
    else if (this.model.get("region")) this.put({ region: null });
    this.hover = null;
    this.soon();
  }

  private listen(): void {
    const { model, root, signal } = this;
    this.soonMaps = onceAFrame(() => this.drawMaps(false), signal);
    const heard: [string, (...args: any[]) => void][] = [
      ["change:_screen", () => this.receive()],
      ["change:_more", () => this.receiveMore()],
      ["change:_audit", () => this.learn()],
      ["change:_trust", () => this.soon()],
      ["change:_protocol", () => this.judge()],
      ["change:_index", () => this.soon()],
      ["change:_judging", () => this.soon()],
      ["change:_error", () => this.complain()],
      ["change:theme", () => this.retheme()],
      ["msg:custom", (content, buffers) => this.download(content, buffers)],
    ];
    for (const name of ["focus", "pin", "region", "mode", "reading", "opacity", "scale", "method", "compare"]) {
      heard.push([`change:${name}`, () => this.soon()]);
    }
    for (const [name, action] of heard) model.on(name, action);
    signal.addEventListener("abort", () => {
      for (const [name, action] of heard) model.off(name, action);
      this.screen?.close();
      root.remove();
    });
    onKeys(root, {
      get: (name) => model.get(name),
      put: (values) => this.put(values),
      go: (by) => this.picker.go(by),
      random: () => this.picker.random(),
      search: () => this.picker.focusSearch(),
      ranks: () => this.screen?.ranked.length ?? 1,
      can: (mode) => this.controls.can(mode),
      method: () => this.nextMethod(),
      compare: () => this.toggleCompare(),
      rankByRegion: () => this.rankByRegion(),
      trust: () => this.sheets.toggleTrust(),
      protocol: () => this.sheets.toggleProtocol(),
      help: () => this.help.toggle(),
      escape: () => this.letGo(),
    }, signal);
    watchTheme(() => this.retheme(), signal);
    requestAnimationFrame(() => !signal.aborted && this.retheme()); // now it is in the page and sees its background
  }

  private learn(): void {
    const first = !this.queries.audited;
    this.queries.learn(this.model.get("_audit"));
    this.picker.learn(this.queries, first ? "misses" : undefined);
  }

  private judge(): void {
    this.queries.judge(this.model.get("_protocol")?.judgement ?? null);
    this.picker.learn(this.queries);
    this.soon();
  }

  private complain(): void {
    this.patience.say(this.model.get("_error")?.text ?? "");
    this.saving = false;
    this.patience.arrived();
    this.soon();
  }

  private download(content: any, buffers: DataView[]): void {
    if (content?.kind !== "page" || !this.saving) return;
    this.saving = false;
    this.soon();
    const link = h("a", { download: content.name });
    const view = buffers[0];
    link.href = URL.createObjectURL(new Blob([new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset, view.byteLength)], { type: "text/html" }));
    this.root.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }
}
