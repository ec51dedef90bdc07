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

const DISTANCES = ["l2", "squared L2", "squared Mahalanobis"];

/** Whether a score is minus a squared distance: never above 0, and the difference of much larger sums. */
export const isDistance = (kind: string): boolean => DISTANCES.includes(kind);

/** Digits behind the point for parts of this size and for the score that they add up to. */
export function scoreDigits(kind: string, size: number, score = size): number {
  if (kind === "cosine") return 3;
  const digits = digitsFor(size, 4, 0, 4);
  return isDistance(kind) ? Math.max(digits, digitsFor(Math.abs(score), 3, 0, 6)) : digits;
}

/** Digits for the scores of a ranking, which stand under each other: of distances the smallest is to be read, too. */
export function rankDigits(kind: string, scores: number[]): number {
  const sizes = scores.map(Math.abs).filter(Number.isFinite);
  const size = Math.max(0, ...sizes);
  if (kind === "cosine") return size < 0.1 ? 4 : 3;
  const least = Math.min(size, ...sizes.filter((each) => each > 0));
  return Math.max(digitsFor(size, 4, 0, 4), isDistance(kind) ? digitsFor(least, 2, 0, 4) : 0);
}

/** What stands beside the pairs: of distances each image's own squared length, besides the offsets. */
export const restOf = (kind: string): string => (isDistance(kind) ? "squared lengths and offsets" : "offsets");

/** What short codes say of a pair, beside the score that is explained. */
export function codesSay(rough: number, score: number, digits: number): string {
  const gap = rough - score;
  const rounded = Number(Math.abs(gap).toFixed(digits)) !== 0;
  return `the index\u2019s own codes say ${plain(rough, digits)} (gap ${rounded ? signed(gap, digits) : `${gap < 0 ? "\u2212" : "+"}${tiny(gap)}`})`;
}

const NAMES: Record<string, string> = { dot: "dot product", l2: "minus squared distance" };

export const nameOfKind = (kind: string): string => NAMES[kind] ?? kind;
