// One pair explained by one method: maps of both images, pairs of cells where there are any, and the sums.

import { balance, gramOf, product, type Data } from "./data";
import { largest, type Place } from "./maps";
import type { FieldMeta, MarginMeta, Numbers, PairsRef, Side, WhyMeta } from "./model";

/** An explanation's map of one image, and where its cells lie. */
export class Field implements Place {
  readonly view: [number, number];
  readonly grid: [number, number];
  readonly first: [number, number];
  readonly stride: [number, number];
  readonly cells: number;
  readonly map: Float32Array;
  private products: Float32Array | null | undefined;
  private alone: Float32Array | null = null;

  constructor(readonly meta: FieldMeta, private readonly data: Data) {
    this.view = meta.view;
    this.grid = meta.grid;
    this.first = meta.first;
    this.stride = meta.stride;
    this.cells = meta.grid[0] * meta.grid[1];
    this.map = data.floats(meta.map);
  }

  /** The map less this side's offset term: what the pairs alone sum to. */
  get ofPairs(): Float32Array {
    if (!this.meta.offset) return this.map;
    if (!this.alone) {
      const offset = this.data.floats(this.meta.offset);
      this.alone = this.map.map((value, n) => value - offset[n]);
    }
    return this.alone;
  }

  /** (5, h, w) products of neighbouring local embeddings, or null where the method has none. */
  get gram(): Float32Array | null {
    if (this.products === undefined) {
      const { gram, factors } = this.meta;
      if (gram) this.products = this.data.floats(gram);
      else this.products = factors ? gramOf(this.data.factors(factors), this.grid) : null;
    }
    return this.products;
  }
}

export class Why {
  readonly kind: string;
  readonly promises: boolean;
  readonly pairwise: boolean;
  readonly numbers: Numbers;
  readonly note: string;
  readonly scale: number;
  readonly margin: MarginMeta | null;
  readonly fields: Record<Side, Field | null>;
  readonly marginMap: Float32Array | null;
  readonly overallSize: number;
  private tensor: Float32Array | null = null;
  private tensorSize = -1;

  constructor(private readonly meta: WhyMeta, private readonly data: Data) {
    this.kind = meta.kind;
    this.promises = meta.promises;
    this.pairwise = meta.pairwise;
    this.numbers = meta.numbers;
    this.note = meta.note;
    this.scale = meta.scale;
    this.margin = meta.margin;
    const field = (of: FieldMeta | null) => of && new Field(of, data);
    this.fields = { query: field(meta.query), match: field(meta.match) };
    this.marginMap = meta.margin ? data.floats(meta.margin.map) : null;
    const sizes = Object.values(this.fields).map((each) => (each ? largest(each.map) : 0));
    this.overallSize = Math.max(...sizes);
  }

  get hasPairs(): boolean {
    return this.tensor !== null || this.meta.pairs !== null;
  }

  get hasLikeness(): boolean {
    const { query, match } = this.meta;
    return this.pairwise && !!(query?.gram ?? query?.factors) && !!(match?.gram ?? match?.factors);
  }

  /** (hq·wq, hg·wg) float32, decoded when it is first read. */
  get pairs(): Float32Array | null {
    if (!this.tensor && this.meta.pairs) this.tensor = this.decode(this.meta.pairs);
    return this.tensor;
  }

  /** A peak that only the stronger points of this pair reach: weaker point maps are drawn fainter, not blown up. */
  get strongPeak(): number {
    if (this.tensorSize < 0 && this.pairs) this.tensorSize = strong(this.pairs, this.fields.match!.cells);
    return Math.max(0, this.tensorSize);
  }

  private decode(ref: PairsRef): Float32Array {
    if (ref.as === "f32") return this.data.floats(ref);
    const query = this.fields.query!;
    const match = this.fields.match!;
    let tensor: Float32Array;
    if (ref.as !== "factors") {
      const whole = ref.as === "i8" ? this.data.signedBytes(ref) : this.data.shorts(ref);
      tensor = Float32Array.from(whole, (value) => value * ref.step);
    } else tensor = product(this.data.factors(query.meta.factors!), this.data.factors(match.meta.factors!), this.scale);
    balance(tensor, query.ofPairs, match.ofPairs);
    return tensor;
  }
}

/** The 85th percentile of the largest magnitude in each row. */
function strong(tensor: Float32Array, cells: number): number {
  const peaks: number[] = [];
  for (let at = 0; at < tensor.length; at += cells) peaks.push(largest(tensor.subarray(at, at + cells)));
  peaks.sort((a, b) => a - b);
  return peaks[Math.floor(0.85 * (peaks.length - 1))];
}
