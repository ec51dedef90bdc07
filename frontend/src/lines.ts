// A line of a card: a term and its number.

import { h } from "./dom";
import { digitsFor } from "./format";

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

export const nameOfKind = (kind: string): string => (kind === "dot" ? "dot product" : kind);
