// What the page and its host exchange: the anywidget front-end interface, and the traits behind it.

export interface Model {
  get(name: string): any;
  set(name: string, value: unknown): void;
  save_changes(): void;
  send(content: unknown, callbacks?: unknown, buffers?: unknown): void;
  on(name: string, callback: (...args: any[]) => void): void;
  off(name?: string | null, callback?: ((...args: any[]) => void) | null): void;
  widget_manager?: { get_model(id: string): Promise<any> };
}

export type Side = "query" | "match";
export type Mode = "overall" | "point" | "margin";
export type Reading = "contribution" | "likeness";
export type Scale = "pair" | "ranking";
export type Theme = "light" | "dark";

/** A pinned point: side, row, column, in pixels of the view. */
export type Pin = [Side, number, number] | null;
/** A region: side, top, left, bottom, right, in pixels of the view, edges included. */
export type Region = ["query", number, number, number, number] | null;

export const MODES: Mode[] = ["overall", "point", "margin"];
export const READINGS: Reading[] = ["contribution", "likeness"];
export const SCALES: Scale[] = ["pair", "ranking"];

/** Where numbers lie in the screen's buffer: byte offset, number of elements. */
export interface Ref {
  o: number;
  n: number;
}

/** Pair tensors arrive whole (f32, i16, i8) or as the factors of their two images, which many pairs share. */
export type PairsRef =
  | { as: "f32"; o: number; n: number }
  | { as: "i8" | "i16"; o: number; n: number; step: number }
  | { as: "factors" };

export interface PictureMeta {
  id: number;
  name: string;
  label: string | null;
  image: Ref;
  mime: string;
  view: [number, number];
  grid: [number, number];
  first: [number, number];
  stride: [number, number];
  /** (5, h, w): each cell's product with itself, right, lower, lower-right, lower-left neighbour. */
  gram: Ref | null;
  factors: (Ref & { rank: number; step: number }) | null;
}

export interface Numbers {
  similarity: number | null;
  pairs: number;
  for: number;
  against: number;
  queryOffset: number;
  galleryOffset: number;
  constant: number;
  total: number | null;
  residual: number | null;
  tolerance: number;
  addsUp: boolean;
}

export interface MarginMeta {
  other: number; // index into items
  map: Ref;
  margin: number;
  offset: number;
  residual: number;
  tolerance: number;
  addsUp: boolean;
}

export interface ItemMeta {
  id: number;
  rank: number;
  extra: boolean; // beyond rank k, here only to be compared with
  hit: boolean | null;
  region: number | null; // the region's contribution, where that ranked
  numbers: Numbers;
  scale: number; // s of the identity
  query: Ref; // overall maps
  match: Ref;
  queryOffset: Ref;
  galleryOffset: Ref;
  pairs: PairsRef | null;
  margin: MarginMeta | null;
  note: string;
}

export interface ScreenMeta {
  version: number;
  query: number;
  pictures: Record<string, PictureMeta>;
  items: ItemMeta[];
  kind: string;
  method: string;
  note: string;
  rounding: string;
  rankedBy: "similarity" | "region";
  region: Region;
  labelled: boolean;
  whyNoMargin: string;
}

/** The gallery as the query picker needs it. */
export interface GalleryMeta {
  ids: number[] | null; // null: 0 … names.length − 1
  names: string[];
  classes: string[];
  labels: number[] | null; // index into classes, −1 for none
  methods: string[];
  kind: string;
  start: "all" | "misses";
}

/** Which queries miss, worst margin first; absent until it was asked for in a large gallery. */
export interface AuditMeta {
  ids: number[];
  margins: number[];
  similarities: number[];
}
