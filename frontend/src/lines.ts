// A line of a card: a term and its number.

import { h } from "./dom";
import { digitsFor, plain, signed, tiny } from "./format";

export interface Line {
  row: HTMLElement;
  name: HTMLElement;
  value: HTMLElement;
}

export function line(name: string, extra = ""): Line {
  const term = h("span", { class: "term", text: name });
  const value = h("span", { class: "number" });
  return { row: h("div", { class: `line ${extra}` }, term, value), name: term, value };
}

/** Digits behind the point for a score of this kind and for its parts. */
export function scoreDigits(kind: string, size: number): number {
  return kind === "cosine" ? 3 : digitsFor(size, 4, 0, 4);
}

/** What short codes say of a pair, beside the score that is explained. */
export function codesSay(rough: number, score: number, digits: number): string {
  const gap = rough - score;
  const rounded = Number(Math.abs(gap).toFixed(digits)) !== 0;
  return `the index\u2019s own codes say ${plain(rough, digits)} (gap ${rounded ? signed(gap, digits) : `${gap < 0 ? "\u2212" : "+"}${tiny(gap)}`})`;
}

export const nameOfKind = (kind: string): string => (kind === "dot" ? "dot product" : kind);
