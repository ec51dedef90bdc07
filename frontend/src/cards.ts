// The cards beside the images: the score and its parts, what lies under the cursor, the comparison.

import { h, setAttribute, setText } from "./dom";
import { digitsFor, percent, plain, signed, tiny } from "./format";
import type { Scene, State } from "./scene";
import type { Item, Screen } from "./screen";

function line(name: string, extra = ""): { row: HTMLElement; name: HTMLElement; value: HTMLElement } {
  const term = h("span", { class: "term", text: name });
  const value = h("span", { class: "number" });
  return { row: h("div", { class: `line ${extra}` }, term, value), name: term, value };
}

/** score = pairs + offsets, and how far that is from the score that ranked. */
export class ScoreCard {
  readonly element: HTMLElement;
  private readonly big = h("div", { class: "big number" });
  private readonly by = h("div", { class: "by" });
  private readonly bars = { for: h("i", { class: "for" }), against: h("i", { class: "against" }), offsets: h("i", { class: "offsets" }), net: h("i", { class: "net" }) };
  private readonly lines = {
    for: line("pairs that speak for"),
    against: line("pairs that speak against"),
    offsets: line("offsets"),
    query: line("of the query", "part"),
    gallery: line("of the match", "part"),
    constant: line("of both", "part"),
    sum: line("sum", "sum"),
  };
  private readonly formula = h("div", { class: "formula number" });
  private readonly residual = h("div", { class: "residual", "data-testid": "residual" });
  private readonly note = h("div", { class: "note", hidden: true });
  private readonly region = line("contribution of the region, ranked by", "region");

  constructor() {
    const { lines } = this;
    this.element = h(
      "section",
      { class: "card score", "data-testid": "score", "aria-label": "Score" },
      this.big,
      this.by,
      h("div", { class: "waterfall", "aria-hidden": "true" }, ...Object.values(this.bars)),
      h("div", { class: "lines" }, this.region.row, lines.for.row, lines.against.row, lines.offsets.row, lines.query.row, lines.gallery.row, lines.constant.row, lines.sum.row),
      this.formula,
      this.residual,
      this.note,
    );
  }

  draw(item: Item, screen: Screen): void {
    const { numbers } = item;
    const size = Math.max(Math.abs(numbers.similarity ?? 0), numbers.for, -numbers.against);
    const digits = screen.meta.kind === "cosine" ? 3 : digitsFor(size, 4, 0, 4);
    setText(this.big, plain(numbers.similarity, digits));
    setText(this.by, `${screen.meta.kind === "cosine" ? "cosine" : "dot product"}, ${item.meta.region === null ? "as FAISS ranked it" : "of the whole images"}`);
    this.region.row.hidden = item.meta.region === null;
    setText(this.region.value, signed(item.meta.region, digits));
    const { lines } = this;
    const offsets = numbers.queryOffset + numbers.galleryOffset + numbers.constant;
    setText(lines.for.value, signed(numbers.for, digits));
    setText(lines.against.value, signed(numbers.against, digits));
    setText(lines.offsets.value, signed(offsets, digits));
    const split: [keyof typeof lines, number][] = [["query", numbers.queryOffset], ["gallery", numbers.galleryOffset], ["constant", numbers.constant]];
    const any = split.some(([, value]) => Number(Math.abs(value).toFixed(digits)) !== 0);
    for (const [name, value] of split) {
      lines[name].row.hidden = !any;
      setText(lines[name].value, signed(value, digits));
    }
    setText(lines.sum.value, plain(numbers.total, digits));
    const spaced = (value: number) => signed(value, digits).replace(/^([+\u2212])/, "$1 ").replace(/^0/, "+ 0");
    setText(this.formula, `${plain(numbers.for, digits)} ${spaced(numbers.against)} ${spaced(offsets)} = ${plain(numbers.total, digits)}`);
    this.formula.title = "pairs that speak for, pairs that speak against, offsets";
    const undefinedScore = numbers.similarity === null;
    setText(
      this.residual,
      undefinedScore
        ? "\u2715 no score: an embedding has no length"
        : numbers.addsUp
          ? `\u2713 adds up, residual ${tiny(numbers.residual)}`
          : `\u2715 does not add up: residual ${tiny(numbers.residual)}, allowed ${tiny(numbers.tolerance)}`,
    );
    this.residual.classList.toggle("wrong", !numbers.addsUp);
    setAttribute(this.residual, "role", numbers.addsUp ? null : "alert");
    const notes = [screen.meta.note, item.meta.note, screen.meta.rounding].filter(Boolean);
    this.note.hidden = notes.length === 0;
    setText(this.note, notes.join(" \u00b7 "));
    this.drawBars(numbers.for, numbers.against, offsets);
    const exact = { similarity: numbers.similarity, pairs: numbers.pairs, offsets, residual: numbers.residual };
    for (const [name, value] of Object.entries(exact)) setAttribute(this.element, `data-${name}`, String(value));
  }

  /** A waterfall: what speaks for, what that loses again, what the offsets move, where it ends. */
  private drawBars(speaksFor: number, against: number, offsets: number): void {
    const stops = [0, speaksFor, speaksFor + against, speaksFor + against + offsets];
    const low = Math.min(...stops);
    const span = Math.max(...stops) - low || 1;
    const put = (bar: HTMLElement, from: number, to: number) => {
      bar.style.left = `${(100 * (Math.min(from, to) - low)) / span}%`;
      bar.style.width = `${(100 * Math.abs(to - from)) / span}%`;
    };
    put(this.bars.for, stops[0], stops[1]);
    put(this.bars.against, stops[1], stops[2]);
    put(this.bars.offsets, stops[2], stops[3]);
    put(this.bars.net, 0, stops[3]);
  }
}

/** Why this one and not that one: two scores, their difference, and where it comes from. */
export class MarginCard {
  readonly element = h("section", { class: "card margin", "aria-label": "Margin", hidden: true });
  private readonly big = h("div", { class: "mid number" });
  private readonly by = h("div", { class: "by" });
  private readonly photo = h("canvas", { class: "versus", "aria-hidden": "true" });
  private readonly go = h("button", { type: "button", class: "link" });
  private readonly formula = h("div", { class: "number", title: "cells of the query, offset of the query" });
  private readonly residual = h("div", { class: "residual" });
  private drawn: Item | null = null;

  constructor(focus: (rank: number) => void, signal: AbortSignal) {
    this.element.append(
      h("div", { class: "beside" }, this.photo, h("div", {}, this.big, this.by, this.go)),
      this.formula,
      this.residual,
    );
    this.go.addEventListener("click", () => this.drawn && focus(this.drawn.rank), { signal });
  }

  draw(state: State): void {
    const { item, screen, mode } = state;
    const other = screen.other(item);
    this.element.hidden = mode !== "margin" || !other;
    if (this.element.hidden || !other || !item.margin) return;
    const { margin } = item;
    const digits = screen.meta.kind === "cosine" ? 4 : digitsFor(Math.abs(margin.margin), 4, 0, 5);
    setText(this.big, signed(margin.margin, digits));
    const verdict = other.hit ? "hit" : "miss";
    setText(this.by, `rank ${item.rank} over rank ${other.rank}, the best ${verdict}: ${plain(item.numbers.similarity)}\u00a0\u2212\u00a0${plain(other.numbers.similarity)}`);
    const cells = margin.margin - margin.offset + margin.residual;
    setText(this.formula, `cells ${signed(cells, digits)}, offset ${signed(margin.offset, digits)}`);
    setText(this.residual, margin.addsUp ? `\u2713 adds up, residual ${tiny(margin.residual)}` : `\u2715 does not add up: residual ${tiny(margin.residual)}`);
    this.residual.classList.toggle("wrong", !margin.addsUp);
    setText(this.go, other.meta.extra ? `${other.picture.label ?? other.picture.name}, beyond the ranking shown` : `look at rank ${other.rank}`);
    this.go.disabled = other.meta.extra;
    if (this.drawn === other) return;
    this.drawn = other;
    other.picture.bitmap.then((bitmap) => {
      if (this.drawn !== other) return;
      this.photo.width = bitmap.width;
      this.photo.height = bitmap.height;
      this.photo.getContext("2d")!.drawImage(bitmap, 0, 0);
    }, () => undefined);
  }
}

/** What lies under the cursor, in numbers. */
export class Readout {
  readonly element: HTMLElement;
  readonly live = h("div", { class: "only-heard", role: "status", "aria-live": "polite" });
  private readonly lines = {
    value: line("under the cursor", "lead"),
    margin: line("of the margin"),
    share: line("share of the score"),
    cell: line("cell"),
    partner: line("peak"),
    pair: line("with the cell under the cursor"),
  };
  private readonly hint = h("p", { class: "hint" });
  private spoken = "";
  private timer = 0;

  constructor(signal: AbortSignal) {
    this.element = h(
      "section",
      { class: "card readout", "data-testid": "readout", "aria-label": "Readout" },
      h("div", { class: "lines" }, ...Object.values(this.lines).map(({ row }) => row)),
      this.hint,
    );
    signal.addEventListener("abort", () => clearTimeout(this.timer));
  }

  draw(state: State, scene: Scene): void {
    const { lines } = this;
    const { under, region, pair, active } = scene;
    const { similarity } = state.item.numbers;
    const least = state.screen.meta.kind === "cosine" ? 4 : 0;
    const fine = digitsFor(Math.max(state.item.overallSize, 1e-9), 4, least);
    const finer = digitsFor(Math.max(state.item.strongPeak, 1e-9), 3, least);
    const likeness = state.reading === "likeness" && !!state.item.query.gram;
    for (const { row } of Object.values(lines)) row.hidden = true;
    const put = (name: keyof typeof lines, value: string, label?: string) => {
      lines[name].row.hidden = false;
      setText(lines[name].value, value);
      if (label) setText(lines[name].name, label);
    };
    const shareOf = (value: number) => (similarity ? percent(value / similarity) : "undefined");
    let speech = "";
    if (under && active) {
      const where = active.fixed ? "at the pin" : state.hover ? "under the cursor" : "at the mark";
      put("value", signed(under.contribution, fine), where);
      put("share", shareOf(under.contribution));
      put("cell", `${under.side} \u00b7 row ${under.cell[0]}, col ${under.cell[1]}`);
      if (under.margin !== null) put("margin", signed(under.margin, fine));
      if (under.partner) {
        const value = likeness ? plain(under.partner.value) : signed(under.partner.value, finer);
        const [row, col] = under.partner.cell;
        put("partner", `${value} \u00b7 row ${row}, col ${col}`, likeness ? "most alike" : "peak");
      }
      if (pair) put("pair", likeness ? plain(pair.value) : signed(pair.value, finer), `with row ${pair.cell[0]}, col ${pair.cell[1]}`);
      speech = `${under.side}, row ${under.cell[0]}, column ${under.cell[1]}: contribution ${signed(under.contribution, fine)}`;
    } else if (region) {
      put("value", signed(region.contribution, fine), "the region");
      put("share", shareOf(region.contribution));
      put("cell", `${region.count} of the query`, region.count === 1 ? "cell" : "cells");
      speech = `region of ${region.count} cells: contribution ${signed(region.contribution, fine)}`;
    }
    const idle = !under && !region;
    setText(
      this.hint,
      idle
        ? "Hover either image to see what that point matches in the other. Click pins it. Drag on the query selects a region to rank by."
        : active?.fixed
          ? "Pinned. Esc lets go."
          : "",
    );
    this.hint.hidden = this.hint.textContent === "";
    const exact = under
      ? { side: under.side, row: under.pixel[0], col: under.pixel[1], contribution: under.contribution }
      : { side: region ? "region" : "", row: "", col: "", contribution: region?.contribution ?? "" };
    for (const [name, value] of Object.entries(exact)) setAttribute(this.element, `data-${name}`, String(value));
    this.speak(speech);
  }

  /** Say the readout when the pointer has come to rest; every step would be noise. */
  private speak(text: string): void {
    if (text === this.spoken) return;
    this.spoken = text;
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => setText(this.live, text), 500);
  }
}
