// One query's screen, unpacked: everything that hovering needs, with no kernel.

import { largest, type Place } from "./maps";
import type { ItemMeta, MarginMeta, Numbers, PairsRef, PictureMeta, Ref, ScreenMeta } from "./model";

/** An image with the geometry of its cells. */
export class Picture implements Place {
  readonly id: number;
  readonly name: string;
  readonly label: string | null;
  readonly view: [number, number];
  readonly grid: [number, number];
  readonly first: [number, number];
  readonly stride: [number, number];
  readonly cells: number;
  readonly bitmap: Promise<ImageBitmap>;
  private lengths: Float32Array | null | undefined;
  private unpacked: Factors | null = null;

  constructor(readonly meta: PictureMeta, private readonly data: Data) {
    this.id = meta.id;
    this.name = meta.name;
    this.label = meta.label;
    this.view = meta.view;
    this.grid = meta.grid;
    this.first = meta.first;
    this.stride = meta.stride;
    this.cells = meta.grid[0] * meta.grid[1];
    this.bitmap = createImageBitmap(new Blob([data.bytes(meta.image)], { type: meta.mime }));
    this.bitmap.catch(() => undefined); // who draws it reports it
  }

  /** (5, h, w) products of neighbouring local embeddings, or null where the method has none. */
  get gram(): Float32Array | null {
    if (this.lengths === undefined) {
      if (this.meta.gram) this.lengths = this.data.floats(this.meta.gram);
      else this.lengths = this.meta.factors ? gramOf(this.factors(), this.grid) : null;
    }
    return this.lengths;
  }

  factors(): Factors {
    if (this.unpacked) return this.unpacked;
    const ref = this.meta.factors!;
    const bytes = this.data.bytes(ref);
    const size = bytes.length / 2;
    const values = new Int16Array(size);
    for (let n = 0; n < size; n++) values[n] = bytes[n] | (bytes[size + n] << 8);
    return (this.unpacked = { values, rank: ref.rank, step: ref.step });
  }

  close(): void {
    this.bitmap.then((bitmap) => bitmap.close(), () => undefined);
  }
}

interface Factors {
  values: Int16Array;
  rank: number;
  step: number;
}

/** One ranked image, taken apart. */
export class Item {
  readonly id: number;
  readonly rank: number;
  readonly hit: boolean | null;
  readonly numbers: Numbers;
  readonly margin: MarginMeta | null;
  /** Overall maps of the query and of this image, and each side's offset term per cell. */
  readonly maps: { query: Float32Array; match: Float32Array };
  readonly marginMap: Float32Array | null;
  readonly overallSize: number;
  private tensor: Float32Array | null = null;
  private tensorSize = -1;
  private readonly offsets: { query: Float32Array; match: Float32Array };

  constructor(
    readonly meta: ItemMeta,
    readonly query: Picture,
    readonly picture: Picture,
    private readonly data: Data,
  ) {
    this.id = meta.id;
    this.rank = meta.rank;
    this.hit = meta.hit;
    this.numbers = meta.numbers;
    this.margin = meta.margin;
    this.maps = { query: data.floats(meta.query), match: data.floats(meta.match) };
    this.offsets = { query: data.floats(meta.queryOffset), match: data.floats(meta.galleryOffset) };
    this.marginMap = meta.margin ? data.floats(meta.margin.map) : null;
    this.overallSize = Math.max(largest(this.maps.query), largest(this.maps.match));
  }

  /** The name that reports call this image by. */
  get score(): number | null {
    return this.meta.region ?? this.numbers.similarity;
  }

  get hasPairs(): boolean {
    return this.tensor !== null || this.meta.pairs !== null;
  }

  /** (hq·wq, hg·wg) float32, decoded when it is first read. */
  get pairs(): Float32Array | null {
    if (!this.tensor && this.meta.pairs) this.setPairs(this.decode(this.meta.pairs));
    return this.tensor;
  }

  /** A peak that only the stronger points of this pair reach: weaker point maps are drawn fainter, not blown up. */
  get strongPeak(): number {
    if (this.tensorSize < 0 && this.pairs) this.tensorSize = strong(this.pairs, this.picture.cells);
    return Math.max(0, this.tensorSize);
  }

  setPairs(tensor: Float32Array): void {
    this.tensor = tensor;
    this.tensorSize = -1;
  }

  private decode(ref: PairsRef): Float32Array {
    if (ref.as === "f32") return this.data.floats(ref);
    let tensor: Float32Array;
    if (ref.as !== "factors") {
      const whole = ref.as === "i8" ? this.data.signedBytes(ref) : this.data.shorts(ref);
      tensor = Float32Array.from(whole, (value) => value * ref.step);
    } else tensor = product(this.query.factors(), this.picture.factors(), this.meta.scale);
    balance(tensor, less(this.maps.query, this.offsets.query), less(this.maps.match, this.offsets.match));
    return tensor;
  }
}

/** A screen's buffer, read by reference. */
export class Data {
  constructor(private readonly view: DataView) {}

  bytes({ o, n }: Ref): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.view.buffer as ArrayBuffer, this.view.byteOffset + o, n);
  }

  signedBytes({ o, n }: Ref): Int8Array {
    return new Int8Array(this.view.buffer, this.view.byteOffset + o, n);
  }

  shorts({ o, n }: Ref): Int16Array {
    return new Int16Array(this.view.buffer, this.view.byteOffset + o, n);
  }

  floats({ o, n }: Ref): Float32Array {
    const start = this.view.byteOffset + o;
    if (start % 4 === 0) return new Float32Array(this.view.buffer, start, n);
    return new Float32Array(this.view.buffer.slice(start, start + 4 * n));
  }
}

export class Screen {
  readonly query: Picture;
  readonly items: Item[];
  readonly ranked: Item[];
  /** Largest magnitudes over the whole ranking, by what they are of. */
  readonly limits = new Map<string, number>();
  /** How many pair tensors came later, on focus. */
  arrived = 0;
  private readonly pictures = new Map<number, Picture>();

  constructor(readonly meta: ScreenMeta, buffer: DataView) {
    const data = new Data(buffer);
    const picture = (id: number) => {
      let found = this.pictures.get(id);
      if (!found) this.pictures.set(id, (found = new Picture(meta.pictures[id], data)));
      return found;
    };
    this.query = picture(meta.query);
    this.items = meta.items.map((item) => new Item(item, this.query, picture(item.id), data));
    this.ranked = this.items.filter((item) => !item.meta.extra);
  }

  item(rank: number): Item | null {
    return this.ranked[Math.min(Math.max(rank, 1), this.ranked.length) - 1] ?? null;
  }

  other(item: Item): Item | null {
    return item.margin ? this.items[item.margin.other] : null;
  }

  close(): void {
    for (const picture of this.pictures.values()) picture.close();
  }
}

/** The 85th percentile of the largest magnitude in each row. */
function strong(tensor: Float32Array, cells: number): number {
  const peaks: number[] = [];
  for (let at = 0; at < tensor.length; at += cells) peaks.push(largest(tensor.subarray(at, at + cells)));
  peaks.sort((a, b) => a - b);
  return peaks[Math.floor(0.85 * (peaks.length - 1))];
}

function less(map: Float32Array, offset: Float32Array): Float32Array {
  return map.map((value, n) => value - offset[n]);
}

function product(q: Factors, g: Factors, scale: number): Float32Array {
  const rank = q.rank;
  const nq = q.values.length / rank;
  const ng = g.values.length / rank;
  const unit = scale * q.step * g.step;
  const out = new Float32Array(nq * ng);
  for (let i = 0, at = 0; i < nq; i++) {
    for (let j = 0; j < ng; j++, at++) {
      let sum = 0;
      for (let d = 0, a = i * rank, b = j * rank; d < rank; d++, a++, b++) sum += q.values[a] * g.values[b];
      out[at] = sum * unit;
    }
  }
  return out;
}

/** Spread what rounding took, so that each row and column sums to the overall map that came exactly. */
export function balance(tensor: Float32Array, rows: Float32Array, cols: Float32Array): void {
  const nq = rows.length;
  const ng = cols.length;
  const byRow = new Float64Array(nq);
  const byCol = new Float64Array(ng);
  for (let i = 0, at = 0; i < nq; i++) {
    for (let j = 0; j < ng; j++, at++) {
      byRow[i] += tensor[at];
      byCol[j] += tensor[at];
    }
  }
  let missing = 0;
  for (let i = 0; i < nq; i++) missing += rows[i] - byRow[i];
  for (let i = 0, at = 0; i < nq; i++) {
    const ofRow = (rows[i] - byRow[i]) / ng - missing / (nq * ng);
    for (let j = 0; j < ng; j++, at++) tensor[at] += ofRow + (cols[j] - byCol[j]) / nq;
  }
}

function gramOf({ values, rank, step }: Factors, [h, w]: [number, number]): Float32Array {
  const size = h * w;
  const out = new Float32Array(5 * size);
  const neighbours = [[0, 0], [0, 1], [1, 0], [1, 1], [1, -1]];
  for (let i = 0; i < h; i++) {
    for (let j = 0; j < w; j++) {
      neighbours.forEach(([down, across], which) => {
        const row = i + down;
        const col = j + across;
        if (row >= h || col < 0 || col >= w) return;
        let sum = 0;
        for (let d = 0, a = (i * w + j) * rank, b = (row * w + col) * rank; d < rank; d++, a++, b++) {
          sum += values[a] * values[b];
        }
        out[which * size + i * w + j] = sum * step * step;
      });
    }
  }
  return out;
}
