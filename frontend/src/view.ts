// One Explorer on the page: it puts the state on the screen and the user's acts into the state.

import { MarginCard, Readout, ScoreCard } from "./cards";
import { Controls } from "./controls";
import { h, onceAFrame, setText } from "./dom";
import { Help } from "./help";
import { onKeys } from "./keys";
import { cellOfPixel, nearestCell, peakOf, pixelOfCell } from "./maps";
import type { GalleryMeta, Mode, Model, Reading, Region, Scale, Side, Theme } from "./model";
import { Panel } from "./panel";
import { Picker } from "./picker";
import { loadPlotly } from "./plotly";
import { Queries } from "./queries";
import { compose, pictureOf, thumbnail, type Point, type State } from "./scene";
import { Data, Screen, type Picture } from "./screen";
import { Strip } from "./strip";
import style from "./style.css";
import { hostTheme, watchTheme } from "./theme";

const PATIENCE = 15_000; // milliseconds until the page says that the kernel does not answer

export class View {
  readonly root: HTMLElement;
  private readonly queries: Queries;
  private readonly picker: Picker;
  private readonly panels: Record<Side, Panel>;
  private readonly strip: Strip;
  private readonly score = new ScoreCard();
  private readonly margin: MarginCard;
  private readonly readout: Readout;
  private readonly controls: Controls;
  private readonly help: Help;
  private readonly cards: HTMLElement;
  private readonly error = h("div", { class: "error", role: "alert", hidden: true });
  private screen: Screen | null = null;
  private theme: Theme = "light";
  private hover: (Point & { stamp: number }) | null = null;
  private resting: Point | null = null;
  private hovered = false;
  private waiting = 0;
  private saving = false;
  private readonly soon: () => void;

  constructor(private readonly model: Model, el: HTMLElement, private readonly signal: AbortSignal) {
    const gallery: GalleryMeta = model.get("_gallery");
    this.queries = new Queries(gallery);
    this.queries.learn(model.get("_audit"));
    this.soon = onceAFrame(() => this.draw(), signal);
    this.help = new Help(signal);
    this.margin = new MarginCard((rank) => this.put({ focus: rank }), signal);
    this.readout = new Readout(signal);
    const panelEvents = {
      move: (side: Side, row: number, col: number, stamp: number) => this.hoverAt({ side, row, col }, stamp),
      leave: (side: Side) => this.leave(side),
      pin: (side: Side, row: number, col: number) => this.pin(side, row, col),
      region: (region: NonNullable<Region>) => this.put({ region, pin: null }),
      step: (side: Side, down: number, across: number) => this.step(side, down, across),
      pinHere: (side: Side) => this.pinHere(side),
    };
    this.panels = { query: new Panel("query", panelEvents, signal), match: new Panel("match", panelEvents, signal) };
    this.strip = new Strip({
      focus: (rank) => this.put({ focus: rank }),
      follow: (id) => this.goTo(id),
      likeRegion: () => this.put({ ranked_by: "similarity" }),
    }, signal);
    this.controls = new Controls({
      set: (name, value) => this.put({ [name]: value }),
      opacity: (value, done) => (done ? this.put({ opacity: value }) : this.fade(value)),
      rankByRegion: () => this.rankByRegion(),
    }, gallery.methods, signal);
    this.picker = new Picker(this.queries, {
      query: (id) => this.goTo(id),
      help: () => this.help.toggle(),
      save: () => this.save(),
      audit: () => model.send({ kind: "audit" }),
    }, signal);
    this.root = h(
      "div",
      { class: "dmlviz", "data-testid": "explorer", "data-lm-suppress-shortcuts": "true", "data-jp-suppress-context-menu": "true", tabindex: -1, role: "region", "aria-label": "Similarity explorer" },
      h("style", { text: style }),
      h(
        "div",
        { class: "sheet" },
        this.picker.element,
        this.error,
        h(
          "div",
          { class: "bench" },
          this.panels.query.element,
          this.panels.match.element,
          this.cards = h("div", { class: "cards" }, this.score.element, this.margin.element, this.readout.element),
          this.strip.element,
        ),
        this.controls.element,
        this.help.element,
        this.readout.live,
      ),
    );
    el.append(this.root);
    this.listen();
    this.retheme();
    this.receive();
    loadPlotly(model).then(
      (plotly) => {
        if (signal.aborted) return;
        for (const panel of Object.values(this.panels)) panel.usePlotly(plotly);
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

  private state(): State | null {
    const screen = this.screen;
    const item = screen?.item(this.model.get("focus"));
    if (!screen || !item) return null;
    const get = (name: string) => this.model.get(name);
    let mode = get("mode") as Mode;
    if (mode === "margin" && !item.margin) mode = "overall";
    return {
      screen, item, mode,
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
    if (old?.query.id !== this.screen.query.id) {
      this.resting = null;
      this.hover = null;
    }
    old?.close();
    this.strip.show(this.screen);
    this.panels.query.show(this.screen.query);
    this.picker.show(this.screen.query.id);
    this.arrived();
    this.say("");
    this.receivePair();
    this.soon();
  }

  private receivePair(): void {
    const message = this.model.get("_pair");
    if (!message?.data || !this.screen || message.meta.query !== this.screen.query.id) return;
    const item = this.screen.items.find((each) => each.id === message.meta.item);
    if (!item || item.hasPairs) return;
    item.setPairs(new Data(message.data).floats({ o: 0, n: message.meta.n }));
    this.screen.arrived += 1;
    this.soon();
  }

  private draw(): void {
    const state = this.state();
    if (!state) return;
    const { screen, item } = state;
    if (!this.resting) {
      const peak = peakOf(item.maps.query);
      const [row, col] = pixelOfCell(screen.query, Math.floor(peak / screen.query.grid[1]), peak % screen.query.grid[1]);
      const [rows, cols] = screen.query.view;
      this.resting = { side: "query", row: Math.min(rows - 1, Math.max(0, row)), col: Math.min(cols - 1, Math.max(0, col)) };
      state.resting = this.resting;
    }
    this.panels.match.show(item.picture);
    const label = (of: Picture) => h("span", { class: "label", text: of.label ?? of.name, title: of.name });
    const badge = item.hit === null || !screen.meta.labelled
      ? ""
      : h("span", { class: `badge ${item.hit ? "hit" : "miss"}`, text: item.hit ? "HIT" : "MISS" });
    this.panels.query.title("query", [label(screen.query)],
      `Query image ${screen.query.name}. Arrow keys move the point, Enter pins it.`);
    this.panels.match.title(`rank ${item.rank}`, [label(item.picture), badge],
      `Match of rank ${item.rank}, ${item.picture.name}. Arrow keys move the point, Enter pins it.`);
    this.score.draw(item, screen);
    this.margin.draw(state);
    this.cards.classList.toggle("margin-shown", state.mode === "margin");
    const opacity = Number(this.model.get("opacity"));
    this.fade(opacity);
    this.controls.show({ mode: state.mode, reading: state.reading, scale: state.scale, method: this.model.get("method"), opacity });
    this.limits(state);
    const other = state.mode === "margin" ? screen.other(item) : null;
    this.strip.compare(other ? [item.rank, other.rank] : []);
    this.drawMaps(state, true);
  }

  /** What moves with the pointer, and nothing else. */
  private drawMaps(state: State, everything: boolean): void {
    const scene = compose(state);
    const { item, screen } = state;
    const other = state.mode === "margin" ? screen.other(item) : null;
    for (const side of ["query", "match"] as Side[]) {
      const words: [string, string] =
        scene[side].what === "margin map" && other
          ? [`for rank ${other.rank}`, `for rank ${item.rank}`]
          : scene[side].what === "likeness" ? ["unlike", "alike"] : ["against", "for"];
      const here = scene.active?.side === side ? scene.active : null;
      this.panels[side].draw(scene[side], state.theme, words, scene.missing && !here);
      this.panels[side].mark({
        ring: here ? [here.row, here.col] : null,
        ringKind: here?.fixed ? "pin" : this.hover ? "hover" : "rest",
        peak: scene[side].peak,
        region: side === "query" ? state.region : null,
        cells: side === "query" && scene.region ? scene.region.cells : [],
      });
    }
    this.readout.draw(state, scene);
    if (everything || state.mode === "point") {
      this.strip.draw(item.rank, state.theme, (each) => thumbnail(state, scene, each));
    }
    if (this.hovered && this.hover) {
      this.hovered = false;
      const contribution = scene.pair ? scene.pair.value : (scene.under?.contribution ?? 0);
      const { side, row, col, stamp } = this.hover;
      this.panels[side].stage.dispatchEvent(
        new CustomEvent("dmlviz:hover", {
          bubbles: true,
          composed: true,
          detail: { side, row, col, contribution, milliseconds: performance.now() - stamp },
        }),
      );
    }
  }

  private limits({ screen, item, region }: State): void {
    const { reason = "" } = this.model.get("_host") ?? {};
    const ranked = screen.meta.rankedBy === "region";
    this.controls.limits(
      item.margin ? "" : screen.meta.whyNoMargin,
      screen.query.gram ? "" : "this method has no local embeddings to compare",
      !this.live ? reason : region || ranked ? "" : "drag on the query to select a region first",
      ranked,
    );
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
    if (id === this.screen?.query.id || !this.queries.has(id)) return;
    clearTimeout(this.waiting);
    this.wait();
    this.put({ query: id });
  }

  /** Dim the old screen until the new one comes, and say so if none does. */
  private wait(): void {
    this.arrived();
    const { signal } = this;
    this.waiting = window.setTimeout(() => {
      this.root.classList.add("waiting");
      this.waiting = window.setTimeout(() => {
        if (signal.aborted) return;
        this.arrived();
        this.say("No answer from the kernel yet: it is busy, or gone. What is on the screen still holds for its query.");
      }, PATIENCE);
    }, 120);
  }

  private arrived(): void {
    clearTimeout(this.waiting);
    this.root.classList.remove("waiting");
  }

  private say(text: string): void {
    this.error.hidden = text === "";
    setText(this.error, text);
  }

  private readonly frame = (): void => {
    const state = this.state();
    if (state) this.drawMaps(state, false);
  };

  private hoverAt(point: Point, stamp: number): void {
    if (this.hover && this.hover.side === point.side && this.hover.row === point.row && this.hover.col === point.col) return;
    this.hover = { ...point, stamp };
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
    if (!state) return;
    const tidy = (value: number) => Math.round(10 * value) / 10;
    const place = pictureOf(state, side);
    const cell = (r: number, c: number) => nearestCell(place, cellOfPixel(place, r, c)).join();
    const again = state.pin && state.pin[0] === side && cell(state.pin[1], state.pin[2]) === cell(row, col);
    this.put({ pin: again ? null : [side, tidy(row), tidy(col)] });
  }

  private pinHere(side: Side): void {
    const at = this.hover?.side === side ? this.hover : this.resting?.side === side ? this.resting : null;
    if (at) this.pin(side, at.row, at.col);
  }

  private step(side: Side, down: number, across: number): void {
    const state = this.state();
    if (!state) return;
    const place = pictureOf(state, side);
    const from = this.hover?.side === side ? this.hover : this.resting?.side === side ? this.resting : null;
    let cell: [number, number] = [Math.floor(place.grid[0] / 2), Math.floor(place.grid[1] / 2)];
    if (from) {
      cell = nearestCell(place, cellOfPixel(place, from.row, from.col));
      cell = [Math.min(place.grid[0] - 1, Math.max(0, cell[0] + down)), Math.min(place.grid[1] - 1, Math.max(0, cell[1] + across))];
    }
    const [row, col] = pixelOfCell(place, ...cell);
    const inside = (value: number, size: number) => Math.min(size - 0.5, Math.max(-0.5, value));
    this.hoverAt({ side, row: inside(row, place.view[0]), col: inside(col, place.view[1]) }, performance.now());
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
    if (this.model.get("pin")) this.put({ pin: null });
    else if (this.model.get("region")) this.put({ region: null });
    this.hover = null;
    this.soon();
  }

  private listen(): void {
    const { model, root, signal } = this;
    this.soonMaps = onceAFrame(this.frame, signal);
    const heard: [string, (...args: any[]) => void][] = [
      ["change:_screen", () => this.receive()],
      ["change:_pair", () => this.receivePair()],
      ["change:_audit", () => this.learn()],
      ["change:_error", () => this.complain()],
      ["change:theme", () => this.retheme()],
      ["msg:custom", (content, buffers) => this.download(content, buffers)],
    ];
    for (const name of ["focus", "pin", "region", "mode", "reading", "opacity", "scale", "method"]) {
      heard.push([`change:${name}`, () => this.soon()]);
    }
    for (const [name, action] of heard) model.on(name, action);
    signal.addEventListener("abort", () => {
      for (const [name, action] of heard) model.off(name, action);
      clearTimeout(this.waiting);
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
      hasMargin: () => !!this.state()?.item.margin,
      rankByRegion: () => this.rankByRegion(),
      help: () => this.help.toggle(),
      escape: () => (this.help.element.open ? this.help.element.close() : this.letGo()),
    }, signal);
    watchTheme(() => this.retheme(), signal);
    requestAnimationFrame(() => !signal.aborted && this.retheme()); // now it is in the page and sees its background
  }

  private learn(): void {
    const first = !this.queries.audited;
    this.queries.learn(this.model.get("_audit"));
    this.picker.learn(this.queries, first ? "misses" : undefined);
  }

  private complain(): void {
    this.say(this.model.get("_error")?.text ?? "");
    this.saving = false;
    this.arrived();
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
