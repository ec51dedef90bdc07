// The score and its parts: what they add up to, how far that is from the score, and what the method leaves out.

import { sentence } from "./caption";
import { h, setAttribute, setText } from "./dom";
import { plain, signed, tiny } from "./format";
import { codesSay, isDistance, line, nameOfKind, restOf, scoreDigits } from "./lines";
import type { Numbers } from "./model";
import type { State } from "./scene";
import type { Why } from "./why";

export class ScoreCard {
  readonly element: HTMLElement;
  private readonly title = h("h3", { class: "method-title" });
  private readonly close = h("button", { type: "button", class: "step small", text: "\u2715", title: "end the comparison (c)", "aria-label": "end the comparison", hidden: true });
  private readonly big = h("div", { class: "big number" });
  private readonly by = h("div", { class: "by" });
  private readonly bars = { for: h("i", { class: "for" }), against: h("i", { class: "against" }), offsets: h("i", { class: "offsets" }), net: h("i", { class: "net" }) };
  private readonly waterfall = h("div", { class: "waterfall", "aria-hidden": "true" }, ...Object.values(this.bars));
  private readonly lines = {
    for: line("pairs that speak for"),
    against: line("pairs that speak against"),
    offsets: line("offsets"),
    query: line("of the query", "part"),
    gallery: line("of the match", "part"),
    constant: line("of both", "part"),
    sum: line("sum", "sum"),
  };
  private readonly formula = h("div", { class: "formula" });
  private readonly residual: HTMLElement;
  private readonly codes = h("div", { class: "codes", hidden: true });
  private readonly note = h("div", { class: "note", hidden: true });
  private readonly more = h("button", { type: "button", class: "link more", text: "about this method" });
  private readonly region = line("contribution of the region, ranked by", "region");

  constructor(suffix: string, about: () => void, end: (() => void) | null, signal: AbortSignal) {
    const { lines } = this;
    this.residual = h("div", { class: "residual", "data-testid": `residual${suffix}` });
    this.codes.dataset.testid = `codes${suffix}`;
    this.more.addEventListener("click", about, { signal });
    if (end) {
      this.close.hidden = false;
      this.close.addEventListener("click", end, { signal });
    }
    this.element = h(
      "section",
      { class: "card score", "data-testid": `score${suffix}`, "aria-label": "Score" },
      h("header", {}, this.title, this.close),
      h("div", { class: "sum-of" }, this.big, this.by),
      this.waterfall,
      h("div", { class: "lines" }, this.region.row, lines.for.row, lines.against.row, lines.offsets.row, lines.query.row, lines.gallery.row, lines.constant.row, lines.sum.row),
      this.formula,
      this.residual,
      this.codes,
      this.note,
      this.more,
    );
  }

  /** `about`: whether what the method says is shown; null where it is shown anyway. */
  draw(state: State, failed: string, about: boolean | null): void {
    const { why, method } = state;
    setText(this.title, sentence(method.title));
    this.element.setAttribute("aria-label", `Score, ${method.title}`);
    this.element.classList.toggle("empty", !why);
    this.drawCodes(state);
    this.more.hidden = about === null;
    setText(this.more, about ? "less" : "about this method");
    setAttribute(this.more, "aria-expanded", String(!!about));
    if (why) this.drawWhy(state, why);
    else {
      setText(this.big, plain(state.item.similarity, scoreDigits(state.screen.meta.kind, state.item.similarity ?? 0)));
      setText(this.by, `${nameOfKind(state.screen.meta.kind)}, as FAISS ranked it`);
      setText(this.formula, "");
      for (const name of ["similarity", "pairs", "offsets", "residual"]) setAttribute(this.element, `data-${name}`, null);
      this.verdict(failed ? "wrong" : "open", failed ? `\u2715 not explained: ${failed}` : "");
      this.note.hidden = true;
    }
  }

  private drawWhy(state: State, why: Why): void {
    const { screen, item } = state;
    const { numbers } = why;
    const size = Math.max(Math.abs(numbers.similarity ?? 0), numbers.for, -numbers.against);
    const digits = scoreDigits(why.kind, size, numbers.similarity ?? size);
    setText(this.big, plain(numbers.similarity, digits));
    const own = why.kind === screen.meta.kind;
    const ranked = `${nameOfKind(screen.meta.kind)} ${plain(item.similarity, scoreDigits(screen.meta.kind, Math.abs(item.similarity ?? 0)))}`;
    const whole = item.meta.region === null ? "as FAISS ranked it" : "of the whole images";
    setText(this.by, own ? `${nameOfKind(why.kind)}, ${whole}` : `${nameOfKind(why.kind)}, the score explained here; FAISS ranked by ${ranked}`);
    this.region.row.hidden = item.meta.region === null;
    setText(this.region.value, signed(item.meta.region, digits));
    const { lines } = this;
    const offsets = numbers.queryOffset + numbers.galleryOffset + numbers.constant;
    // Two maps that add up to one score (no pairs): the first is told cell by cell, the other stands in the rest.
    const twoMaps = !why.pairwise && !!why.fields.query && numbers.queryOffset !== 0;
    const parts = why.pairwise ? "pairs" : twoMaps ? "cells of the query" : "cells";
    setText(lines.for.name, `${parts} that speak for`);
    setText(lines.against.name, `${parts} that speak against`);
    setText(lines.sum.name, why.pairwise || twoMaps ? "sum" : `sum over the ${why.fields.query ? "query" : "match"}`);
    setText(lines.for.value, signed(numbers.for, digits));
    setText(lines.against.value, signed(numbers.against, digits));
    const rest = twoMaps ? numbers.galleryOffset + numbers.constant : offsets;
    setText(lines.offsets.name, twoMaps ? "map of the match, and offsets" : why.pairwise ? restOf(why.kind) : "offsets");
    setText(lines.offsets.value, signed(rest, digits));
    const split: [keyof typeof lines, number][] = [["query", numbers.queryOffset], ["gallery", numbers.galleryOffset], ["constant", numbers.constant]];
    const any = split.some(([, value]) => Number(Math.abs(value).toFixed(digits)) !== 0);
    for (const [name, value] of split) {
      lines[name].row.hidden = !any || (twoMaps && name === "query");
      setText(lines[name].value, signed(value, digits));
    }
    setText(lines.sum.value, plain(numbers.total, digits));
    const cells = (numbers.total ?? NaN) - rest;
    const beside = why.pairwise && isDistance(why.kind) ? "lengths" : "offsets";
    const less = Number(Math.abs(rest).toFixed(digits)) !== 0 && rest < 0;
    setText(
      this.formula,
      `${why.pairwise ? "pairs" : "map"} ${plain(cells, digits)} ${less ? "\u2212" : "+"} ${beside} ${plain(Math.abs(rest), digits)} = ${plain(numbers.total, digits)}`,
    );
    this.verdict(...verdictOf(why, digits));
    const fields = Object.values(why.fields);
    const guessed = fields.some((field) => field?.meta.guessed) ? "cells placed by the half-pixel rule: the trunk's geometry is not known" : "";
    const notes = [guessed, why.pairwise ? screen.meta.rounding : ""].filter(Boolean);
    this.note.hidden = notes.length === 0;
    setText(this.note, notes.join(" \u00b7 "));
    this.drawBars(numbers.for, numbers.against, rest);
    const exact = { similarity: numbers.similarity, pairs: numbers.pairs, offsets, residual: numbers.residual };
    for (const [name, value] of Object.entries(exact)) setAttribute(this.element, `data-${name}`, String(value));
  }

  /** The score by the codes that the index searches among, where it keeps no rows. */
  private drawCodes({ screen, item }: State): void {
    const { rough, score } = item.meta;
    this.codes.hidden = rough === null || score === null;
    if (rough === null || score === null) return;
    setText(this.codes, codesSay(rough, score, scoreDigits(screen.meta.kind, Math.abs(score))));
    setAttribute(this.codes, "title", "candidates are found by short codes; what ranks and is explained is the score of the embeddings themselves");
    setAttribute(this.codes, "data-rough", String(rough));
  }

  private verdict(kind: "exact" | "open" | "wrong", text: string): void {
    setText(this.residual, text);
    this.residual.hidden = text === "";
    this.residual.classList.toggle("wrong", kind === "wrong");
    this.residual.classList.toggle("open", kind === "open");
    setAttribute(this.residual, "role", kind === "wrong" ? "alert" : null);
  }

  /** A waterfall: what speaks for, what that loses again, what the offsets move, where it ends. */
  private drawBars(speaksFor: number, against: number, offsets: number): void {
    const stops = [0, speaksFor, speaksFor + against, speaksFor + against + offsets];
    const low = Math.min(...stops);
    const span = Math.max(...stops) - low || 1;
    const put = (bar: HTMLElement, from: number, to: number) => {
      bar.style.left = `${(100 * (Math.min(from, to) - low)) / span}%`;
      bar.style.width = `${(100 * Math.abs(to - from)) / span}%`;
      bar.hidden = Math.abs(to - from) < 0.001 * span;
    };
    put(this.bars.for, stops[0], stops[1]);
    put(this.bars.against, stops[1], stops[2]);
    put(this.bars.offsets, stops[2], stops[3]);
    put(this.bars.net, 0, stops[3]);
  }
}

/** Whether the parts add up; a method that does not promise it is no error where they do not. */
export function verdictOf(why: { numbers: Numbers; promises: boolean }, digits: number): ["exact" | "open" | "wrong", string] {
  const { numbers, promises } = why;
  if (numbers.similarity === null) return ["wrong", "\u2715 no score: an embedding has no length"];
  if (numbers.addsUp) {
    return ["exact", `\u2713 adds up${promises ? "" : " here, though the method does not promise it"}, residual ${tiny(numbers.residual)}`];
  }
  if (promises) return ["wrong", `\u2715 does not add up: residual ${tiny(numbers.residual)}, allowed ${tiny(numbers.tolerance)}`];
  const left = -(numbers.residual ?? NaN);
  const rough = Number(Math.abs(left).toFixed(digits)) === 0 ? tiny(left) : signed(left, digits);
  return ["open", `leaves ${rough} of the score unexplained`];
}
