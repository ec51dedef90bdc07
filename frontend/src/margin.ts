// Why this one and not that one: two scores, their difference, and where it comes from.

import { h, setText } from "./dom";
import { plain, signed, tiny } from "./format";
import { isDistance, nameOfKind, scoreDigits } from "./lines";
import type { State } from "./scene";
import type { Item } from "./screen";

export class MarginCard {
  readonly element = h("section", { class: "card margin", "aria-label": "Margin", hidden: true });
  private readonly big = h("div", { class: "mid number" });
  private readonly by = h("div", { class: "by" });
  private readonly photo = h("canvas", { class: "versus", "aria-hidden": "true" });
  private readonly go = h("button", { type: "button", class: "link" });
  private readonly formula = h("div", { class: "number" });
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
    const { item, screen, why } = state;
    const other = screen.other(item);
    const margin = why?.margin;
    this.element.hidden = state.mode !== "margin" || !other || !margin;
    if (this.element.hidden || !other || !margin || !why) return;
    const digits = Math.max(scoreDigits(why.kind, Math.abs(margin.margin)), why.kind === "cosine" ? 4 : 0);
    setText(this.big, signed(margin.margin, digits));
    const verdict = other.hit ? "hit" : "miss";
    const distance = isDistance(why.kind);
    const scores = why.kind === screen.meta.kind ? difference(item.similarity, other.similarity, distance ? digits : 3) : nameOfKind(why.kind);
    setText(this.by, `rank ${item.rank} over rank ${other.rank}, the best ${verdict}: ${scores}`);
    const cells = margin.margin - margin.offset + margin.residual;
    setText(this.formula, `cells ${signed(cells, digits)}, ${distance ? "lengths" : "offset"} ${signed(margin.offset, digits)}`);
    this.formula.title = distance ? "cells of the query, squared lengths of the two images and offset of the query" : "cells of the query, offset of the query";
    const open = !margin.addsUp && !margin.promises;
    setText(
      this.residual,
      margin.addsUp
        ? `\u2713 adds up, residual ${tiny(margin.residual)}`
        : open
          ? `leaves ${signed(-margin.residual, digits)} of the difference unexplained`
          : `\u2715 does not add up: residual ${tiny(margin.residual)}`,
    );
    this.residual.classList.toggle("wrong", !margin.addsUp && !open);
    this.residual.classList.toggle("open", open);
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

/** Two scores with a minus between them; a negative one behind it stands in brackets. */
function difference(left: number | null, right: number | null, digits: number): string {
  const behind = plain(right, digits);
  return `${plain(left, digits)}\u00a0\u2212\u00a0${(right ?? 0) < 0 ? `(${behind})` : behind}`;
}
