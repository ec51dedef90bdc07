// One of the two focused images: the picture nearly grey, its signed map, the marks, and the pointer.

import { gradient } from "./colour";
import { h, setText } from "./dom";
import { digitsFor, plain } from "./format";
import { CanvasLayer, PlotlyLayer } from "./layer";
import type { Region, Side, Theme } from "./model";
import type { Plotly } from "./plotly";
import type { Shown } from "./scene";
import type { Picture } from "./screen";

export interface PanelEvents {
  move(side: Side, row: number, col: number, stamp: number): void;
  leave(side: Side): void;
  pin(side: Side, row: number, col: number): void;
  region(region: NonNullable<Region>): void;
  step(side: Side, down: number, across: number): void;
  pinHere(side: Side): void;
}

export interface Marks {
  ring: [number, number] | null;
  ringKind: "hover" | "pin" | "rest";
  peak: [number, number] | null;
  region: Region;
  cells: [number, number][];
}

const SVG = "http://www.w3.org/2000/svg";

export class Panel {
  readonly element: HTMLElement;
  readonly stage: HTMLElement;
  private readonly heading = h("h3", { class: "who" });
  private readonly about = h("span", { class: "about" });
  private readonly what = h("span", { class: "what" });
  private readonly photo = h("canvas", { class: "photo", "aria-hidden": "true" });
  private readonly plain = new CanvasLayer();
  private readonly ring = h("div", { class: "ring", hidden: true });
  private readonly peak = h("div", { class: "peak", hidden: true });
  private readonly band = h("div", { class: "band", hidden: true });
  private readonly dots = document.createElementNS(SVG, "svg");
  private readonly low = h("span");
  private readonly high = h("span");
  private readonly strip = h("div", { class: "strip-of-colour" });
  private readonly lowWord = h("span", { text: "speaks against" });
  private readonly highWord = h("span", { text: "speaks for" });
  private readonly wait = h("div", { class: "wait", role: "status", hidden: true });
  private readonly legend: HTMLElement;
  private layer: PlotlyLayer | null = null;
  private picture: Picture | null = null;
  private bitmap: ImageBitmap | null = null;
  private shown: { shown: Shown; theme: Theme } | null = null;
  private size = { width: 0, height: 0 };
  private drawn: unknown[] = [];
  private drag: { row: number; col: number; x: number; y: number; moved: boolean } | null = null;

  constructor(readonly side: Side, suffix: string, private readonly events: PanelEvents, private readonly signal: AbortSignal) {
    const name = side === "query" ? "query" : "match";
    this.dots.setAttribute("class", "dots");
    this.dots.setAttribute("preserveAspectRatio", "none");
    this.dots.setAttribute("aria-hidden", "true");
    this.stage = h(
      "div",
      {
        class: "stage",
        "data-testid": `${name}-image${suffix}`,
        role: "application",
        tabindex: 0,
        "aria-roledescription": "image with a map",
        "aria-keyshortcuts": "ArrowUp ArrowDown ArrowLeft ArrowRight Enter Escape",
      },
      this.photo, this.plain.element, this.band, this.peak, this.ring, this.wait,
    );
    this.stage.insertBefore(this.dots, this.band);
    this.legend = h(
      "div",
      { class: "legend" },
      h("div", { class: "ends" }, this.low, this.lowWord, h("span", { class: "gap" }), this.highWord, this.high),
      this.strip,
    );
    this.element = h(
      "section",
      { class: `panel ${name}`, "aria-label": name === "query" ? "Query" : "Match" },
      h("header", {}, this.heading, this.about, this.what),
      h("div", { class: "frame" }, this.stage),
      this.legend,
    );
    this.listen();
    const observer = new ResizeObserver(() => this.resized());
    observer.observe(this.stage);
    signal.addEventListener("abort", () => {
      observer.disconnect();
      this.layer?.close();
    });
  }

  usePlotly(plotly: Plotly): void {
    this.layer = new PlotlyLayer(plotly);
    this.plain.element.replaceWith(this.layer.element);
    this.redraw();
  }

  title(who: string, about: (Node | string)[], name: string): void {
    setText(this.heading, who);
    this.about.replaceChildren(...about);
    this.stage.setAttribute("aria-label", name);
  }

  show(picture: Picture): void {
    if (picture === this.picture) return;
    this.picture = picture;
    this.bitmap = null;
    const [rows, cols] = picture.view;
    this.stage.style.aspectRatio = `${cols} / ${rows}`;
    this.dots.setAttribute("viewBox", `-0.5 -0.5 ${cols} ${rows}`);
    picture.bitmap.then(
      (bitmap) => {
        if (this.picture !== picture || this.signal.aborted) return;
        this.bitmap = bitmap;
        this.paintPhoto();
      },
      () => this.stage.classList.add("unreadable"),
    );
  }

  draw(shown: Shown, theme: Theme, words: [string, string], wait: string): void {
    this.shown = { shown, theme };
    this.redraw();
    setText(this.what, wait ? "" : shown.what);
    this.stage.classList.toggle("bare", !shown.map);
    this.legend.classList.toggle("idle", !shown.map);
    const digits = digitsFor(shown.limit, 3, 2);
    setText(this.low, plain(-shown.limit, digits));
    setText(this.high, `+${plain(shown.limit, digits)}`);
    setText(this.lowWord, words[0]);
    setText(this.highWord, words[1]);
    const background = gradient(theme);
    if (this.strip.dataset.theme !== theme) {
      this.strip.style.backgroundImage = background;
      this.strip.dataset.theme = theme;
    }
    this.wait.hidden = wait === "";
    setText(this.wait, wait);
  }

  mark({ ring, ringKind, peak, region, cells }: Marks): void {
    this.place(this.ring, ring);
    this.ring.className = `ring ${ringKind}`;
    this.place(this.peak, peak);
    const key = cells.join(" ");
    if (this.dots.dataset.key !== key) {
      this.dots.dataset.key = key;
      this.dots.replaceChildren(
        ...cells.map(([row, col]) => {
          const dot = document.createElementNS(SVG, "path");
          dot.setAttribute("d", `M${col} ${row}h0`);
          return dot;
        }),
      );
    }
    if (!this.drag?.moved) this.placeBand(region);
  }

  private place(mark: HTMLElement, at: [number, number] | null): void {
    mark.hidden = !at;
    if (!at || !this.picture) return;
    mark.style.left = `${(100 * (at[1] + 0.5)) / this.picture.view[1]}%`;
    mark.style.top = `${(100 * (at[0] + 0.5)) / this.picture.view[0]}%`;
  }

  private placeBand(region: Region): void {
    this.band.hidden = !region;
    if (!region || !this.picture) return;
    const [rows, cols] = this.picture.view;
    const [, top, left, bottom, right] = region;
    Object.assign(this.band.style, {
      left: `${(100 * (left + 0.5)) / cols}%`,
      top: `${(100 * (top + 0.5)) / rows}%`,
      width: `${(100 * (right - left)) / cols}%`,
      height: `${(100 * (bottom - top)) / rows}%`,
    });
  }

  private redraw(): void {
    if (!this.shown || !this.picture) return;
    const { shown, theme } = this.shown;
    const { width, height } = this.size;
    const now = [this.layer, this.picture, shown.map, shown.place, shown.limit, theme, width, height];
    if (now.every((value, n) => value === this.drawn[n])) return;
    this.drawn = now;
    if (this.layer) this.layer.draw(shown.place, shown.map, shown.limit, theme, width, height);
    else this.plain.draw(shown.place, shown.map, shown.limit, theme);
  }

  private resized(): void {
    const { clientWidth: width, clientHeight: height } = this.stage;
    if (width === this.size.width && height === this.size.height) return;
    this.size = { width, height };
    this.paintPhoto();
    this.redraw();
  }

  private paintPhoto(): void {
    const { width, height } = this.size;
    if (!this.bitmap || width < 1 || height < 1) return;
    const sharp = Math.min(2, devicePixelRatio || 1);
    this.photo.width = Math.round(width * sharp);
    this.photo.height = Math.round(height * sharp);
    const context = this.photo.getContext("2d")!;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.bitmap, 0, 0, this.photo.width, this.photo.height);
  }

  private at(event: PointerEvent): [number, number] {
    const box = this.stage.getBoundingClientRect();
    const [rows, cols] = this.picture!.view;
    const row = ((event.clientY - box.top) / box.height) * rows - 0.5;
    const col = ((event.clientX - box.left) / box.width) * cols - 0.5;
    return [Math.min(rows - 0.5, Math.max(-0.5, row)), Math.min(cols - 0.5, Math.max(-0.5, col))];
  }

  private listen(): void {
    const { stage, signal, events, side } = this;
    const listen = (type: string, action: (event: any) => void) => stage.addEventListener(type, action, { signal });
    listen("pointermove", (event: PointerEvent) => {
      if (!this.picture) return;
      const [row, col] = this.at(event);
      if (this.drag) this.dragTo(row, col, event);
      if (!this.drag?.moved) events.move(side, row, col, event.timeStamp);
    });
    listen("pointerleave", () => {
      if (!this.drag) events.leave(side);
    });
    listen("pointerdown", (event: PointerEvent) => {
      if (!this.picture || event.button !== 0) return;
      const [row, col] = this.at(event);
      this.drag = { row, col, x: event.clientX, y: event.clientY, moved: false };
      stage.setPointerCapture(event.pointerId);
    });
    listen("pointerup", (event: PointerEvent) => this.release(event));
    listen("pointercancel", () => {
      this.drag = null;
    });
    listen("blur", () => events.leave(side));
    listen("keydown", (event: KeyboardEvent) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      if (step) events.step(side, step[0], step[1]);
      else if (event.key === "Enter") events.pinHere(side);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
  }

  private dragTo(row: number, col: number, event: PointerEvent): void {
    const drag = this.drag!;
    if (this.side !== "query") return;
    if (Math.hypot(event.clientX - drag.x, event.clientY - drag.y) > 5) drag.moved = true;
    if (drag.moved) this.placeBand(rectangle(drag, row, col));
  }

  private release(event: PointerEvent): void {
    const drag = this.drag;
    this.drag = null;
    if (!drag || !this.picture) return;
    const [row, col] = this.at(event);
    if (drag.moved) this.events.region(rectangle(drag, row, col));
    else if (Math.hypot(event.clientX - drag.x, event.clientY - drag.y) <= 5) this.events.pin(this.side, row, col);
  }
}

function rectangle(from: { row: number; col: number }, row: number, col: number): NonNullable<Region> {
  const tidy = (value: number) => Math.round(10 * value) / 10;
  return [
    "query",
    tidy(Math.min(from.row, row)), tidy(Math.min(from.col, col)),
    tidy(Math.max(from.row, row)), tidy(Math.max(from.col, col)),
  ];
}
