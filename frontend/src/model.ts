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
}

/** What an explanation says of one image: its map, and where the map's cells lie. */
export interface FieldMeta {
  map: Ref;
  offset: Ref | null; // that side's offset term per cell, part of the map
  view: [number, number];
  grid: [number, number];
  first: [number, number];
  stride: [number, number];
  guessed: boolean; // placed by the half-pixel rule
  /** (5, h, w): each cell's product with itself, right, lower, lower-right, lower-left neighbour. */
  gram: Ref | null;
  factors: FactorsRef | null;
}

export type FactorsRef = Ref & { rank: number; step: number };

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
  promises: boolean;
}

/** One pair explained by one method. */
export interface WhyMeta {
  n: number; // index into items
  kind: string; // of the similarity that is explained
  promises: boolean; // that the parts add up to it
  pairwise: boolean;
  numbers: Numbers;
  note: string;
  scale: number; // what turns products of local embeddings into pairs
  query: FieldMeta | null;
  match: FieldMeta | null;
  pairs: PairsRef | null; // null though pairwise: not here yet
  margin: MarginMeta | null;
}

export interface ItemMeta {
  id: number;
  rank: number;
  extra: boolean; // beyond rank k, here only to be compared with
  hit: boolean | null;
  score: number | null; // what the index ranks by, of the whole images
  rough: number | null; // what the index's own codes say of it; null where it keeps the rows themselves
  region: number | null; // the region's contribution, where that ranked
  other: number | null; // index of the best item of the other kind
  picture: string;
}

export interface ScreenMeta {
  version: number;
  query: number;
  queryPicture: string;
  pictures: Record<string, PictureMeta>;
  items: ItemMeta[];
  whys: Record<string, WhyMeta[]>; // by method, as far as they are made
  kind: string;
  rounding: string;
  rankedBy: "similarity" | "region";
  region: Region;
  labelled: boolean;
  leftOut: string | null;
  whyNoMargin: string;
}

/** Explanations that came after their screen, or why one could not be made. */
export interface MoreMeta {
  query: number;
  method: string;
  whys: WhyMeta[];
  seconds: number | null; // that one pair takes
  failed: string;
  item?: number; // the one that failed
}

/** A method as the pickers offer it. */
export interface MethodMeta {
  name: string;
  title: string;
  says: string;
  cost: string;
  reason: string; // why it cannot be chosen; "" where it can
  pairwise: boolean;
  linear: boolean;
}

/** A figure with its 95 % interval; null where no trial counts. */
export interface TrustFigure {
  value: number | null;
  low: number | null;
  high: number | null;
  trials: number;
  leftOut: number;
}

/** What one evaluator found about one method. */
export interface TrustFound {
  figure: TrustFigure; // the headline
  others: (TrustFigure & { name: string })[];
  baselines: (TrustFigure & { name: string })[]; // the headline's
}

/** What an evaluator asks, and the scale on which its figures are drawn. */
export interface TrustEvaluator {
  name: string;
  title: string;
  question: string;
  caution: string;
  headline: boolean; // it tells methods apart
  better: "higher" | "lower";
  figure: string;
  scale: [number, number];
}

/** How far to trust the methods, and what is being measured. */
export interface TrustMeta {
  pairs: Record<string, { count: string; rule: string }>; // by method
  summaries: Record<string, string>; // by method, what was found
  known: string; // of the pictures
  evaluators: TrustEvaluator[];
  methods: Record<string, Record<string, TrustFound>>;
  baselines: Record<string, string>; // what each is
  unasked: { evaluator: string; method: string; title: string; headline: boolean; reason: string }[]; // "": of all methods
  measuring: string[];
  failed: Record<string, string>;
  seconds: number; // that measuring one method takes
  reason: string; // why there is nothing to show; "" where there is
}

/** What a protocol, or the gallery's own measure, says of the rankings. */
export interface JudgementMeta {
  name: string; // the protocol's; "" for the gallery's own measure
  title: string;
  source: string;
  figures: { name: string; value: number | null }[];
  definition: string;
  valid: number;
  dropped: number;
  tied: number | null; // null where ties were not counted
  sort: { name: string; highIsWorse: boolean }; // what the queries are sorted by; its best value is 1
  values: (number | null)[]; // of each query of the picker; null where it was not evaluated
  spread: { edges: number[]; counts: number[] }; // of all queries' values
}

export interface ProtocolMeta {
  judgement: JudgementMeta | null;
  queries: number; // how many ask
  reason: string; // why there is none; "" where it can be asked for
}

/** What ranks, and how many of the true neighbours it was seen to find. */
export interface IndexMeta {
  kind: string;
  exact: boolean;
  reason: string; // why this kind was chosen
  recall: { value: number; low: number; high: number; queries: number; k: number; text: string } | null;
}

/** What the kernel is judging: "figures", "recall". */
export interface JudgingMeta {
  waiting: string[];
  failed: Record<string, string>;
}

/** The gallery as the query picker needs it. */
export interface GalleryMeta {
  ids: number[] | null; // null: 0 … names.length − 1
  names: string[];
  classes: string[];
  labels: number[] | null; // index into classes, −1 for none
  methods: MethodMeta[];
  kind: string;
  follow: boolean; // a ranked image can be made the query
  start: "all" | "misses";
}

/** Which queries miss, worst margin first; absent until it was asked for in a large gallery. */
export interface AuditMeta {
  ids: number[];
  margins: number[];
  similarities: number[];
}
