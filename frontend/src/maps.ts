// Reading maps: pixels to cells, rows of the pair tensor, likeness, regions, and smooth drawing.
// Points are (row, col); a map is a flat Float32Array in row-major order.

import type { Region } from "./model";

/** Where the cells of a picture lie on its view. */
export interface Place {
  view: [number, number];
  grid: [number, number];
  first: [number, number];
  stride: [number, number];
}

/** Up to four cells and their weights: a point between cells, or a region. */
export interface Mix {
  cells: number[];
  weights: number[];
}

const clamp = (value: number, low: number, high: number) => Math.min(high, Math.max(low, value));

/** The cell, between cells, under a pixel of the view. */
export function cellOfPixel(place: Place, row: number, col: number): [number, number] {
  return [0, 1].map((axis) =>
    clamp(([row, col][axis] - place.first[axis]) / place.stride[axis], -0.5, place.grid[axis] - 0.5),
  ) as [number, number];
}

export function pixelOfCell(place: Place, row: number, col: number): [number, number] {
  return [place.first[0] + place.stride[0] * row, place.first[1] + place.stride[1] * col];
}

/** The whole cell nearest to a place between cells. */
export function nearestCell(place: Place, cell: [number, number]): [number, number] {
  return [
    clamp(Math.round(cell[0]), 0, place.grid[0] - 1),
    clamp(Math.round(cell[1]), 0, place.grid[1] - 1),
  ];
}

/** Bilinear weights of the four cells round a point; the edge is repeated beyond the outer centres. */
export function mixAt(grid: [number, number], cell: [number, number]): Mix {
  const [h, w] = grid;
  const row = clamp(cell[0], 0, h - 1);
  const col = clamp(cell[1], 0, w - 1);
  const top = Math.floor(row);
  const left = Math.floor(col);
  const bottom = Math.min(top + 1, h - 1);
  const right = Math.min(left + 1, w - 1);
  const down = row - top;
  const across = col - left;
  return {
    cells: [top * w + left, top * w + right, bottom * w + left, bottom * w + right],
    weights: [(1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across],
  };
}

/** The cells whose centres lie in a region; the one nearest to its middle where none does. */
export function cellsIn(place: Place, region: NonNullable<Region>): Mix {
  const [, top, left, bottom, right] = region;
  const [h, w] = place.grid;
  const cells: number[] = [];
  for (let i = 0; i < h; i++) {
    for (let j = 0; j < w; j++) {
      const [row, col] = pixelOfCell(place, i, j);
      if (row >= top && row <= bottom && col >= left && col <= right) cells.push(i * w + j);
    }
  }
  if (cells.length === 0) {
    const middle = nearestCell(place, cellOfPixel(place, (top + bottom) / 2, (left + right) / 2));
    cells.push(middle[0] * w + middle[1]);
  }
  return { cells, weights: cells.map(() => 1) };
}

/** A map's value at a mix of its cells. */
export function valueAt(map: Float32Array, mix: Mix): number {
  let sum = 0;
  for (let n = 0; n < mix.cells.length; n++) if (mix.weights[n]) sum += mix.weights[n] * map[mix.cells[n]];
  return sum;
}

/** Mixed rows of the pair tensor: what a mix of the query's cells adds with each cell of the match. */
export function rowOf(pairs: Float32Array, matchCells: number, mix: Mix, out: Float32Array): Float32Array {
  out.fill(0);
  for (let n = 0; n < mix.cells.length; n++) {
    const weight = mix.weights[n];
    if (!weight) continue;
    const start = mix.cells[n] * matchCells;
    for (let j = 0; j < matchCells; j++) out[j] += weight * pairs[start + j];
  }
  return out;
}

/** Mixed columns: what a mix of the match's cells adds with each cell of the query. */
export function columnOf(pairs: Float32Array, matchCells: number, mix: Mix, out: Float32Array): Float32Array {
  out.fill(0);
  for (let n = 0; n < mix.cells.length; n++) {
    const weight = mix.weights[n];
    if (!weight) continue;
    for (let i = 0, at = mix.cells[n]; i < out.length; i++, at += matchCells) out[i] += weight * pairs[at];
  }
  return out;
}

/**
 * The length of a mix of four neighbouring local embeddings.
 * `gram` is (5, h, w): a cell's product with itself, its right, lower, lower-right and lower-left neighbour.
 */
export function mixedLength(gram: Float32Array, grid: [number, number], mix: Mix): number {
  const size = grid[0] * grid[1];
  const [a, b, c, d] = mix.cells;
  const [wa, wb, wc, wd] = mix.weights;
  const wide = b !== a;
  const tall = c !== a;
  const own = (at: number) => gram[at];
  const right = (at: number) => (wide ? gram[size + at] : own(at));
  const lower = (at: number) => (tall ? gram[2 * size + at] : own(at));
  const falling = tall && wide ? gram[3 * size + a] : wide ? right(a) : lower(a);
  const rising = tall && wide ? gram[4 * size + b] : wide ? right(a) : lower(a);
  const square =
    wa * wa * own(a) + wb * wb * own(b) + wc * wc * own(c) + wd * wd * own(d) +
    2 * (wa * wb * right(a) + wc * wd * right(c) + wa * wc * lower(a) + wb * wd * lower(b) +
      wa * wd * falling + wb * wc * rising);
  return Math.sqrt(Math.max(0, square));
}

/** Shares of a similarity to cosines of local embeddings: D / (s·‖x‖·‖x_j‖), in place. */
export function toLikeness(row: Float32Array, scale: number, length: number, gram: Float32Array): Float32Array {
  for (let j = 0; j < row.length; j++) {
    const lengths = scale * length * Math.sqrt(Math.max(0, gram[j]));
    row[j] = lengths > 0 ? clamp(row[j] / lengths, -1, 1) : 0;
  }
  return row;
}

export function largest(map: Float32Array): number {
  let size = 0;
  for (const value of map) if (Math.abs(value) > size) size = Math.abs(value);
  return size;
}

export function peakOf(map: Float32Array): number {
  let best = 0;
  for (let n = 1; n < map.length; n++) if (map[n] > map[best]) best = n;
  return best;
}

export function sumOf(map: Float32Array): number {
  let sum = 0;
  for (const value of map) sum += value;
  return sum;
}

/**
 * Draws a map of cells smoothly onto a picture's view, at a fixed number of samples.
 * Cubic along each axis and never beyond its two neighbours, so that no hue appears that no cell has.
 */
export class Smooth {
  readonly rows: number;
  readonly cols: number;
  readonly out: Float32Array;
  readonly lines: Float32Array[];
  private readonly half: Float32Array;
  private readonly down: Taps;
  private readonly across: Taps;

  constructor(readonly place: Place, samples: number) {
    const [h, w] = place.grid;
    this.rows = Math.max(samples, h);
    this.cols = Math.max(samples, w);
    this.down = taps(place, 0, this.rows);
    this.across = taps(place, 1, this.cols);
    this.half = new Float32Array(h * this.cols);
    this.out = new Float32Array(this.rows * this.cols);
    this.lines = Array.from({ length: this.rows }, (_, r) =>
      this.out.subarray(r * this.cols, (r + 1) * this.cols),
    );
  }

  draw(map: Float32Array): Float32Array[] {
    const [h, w] = this.place.grid;
    const { cols, rows, half, out } = this;
    for (let i = 0; i < h; i++) resample(map, i * w, 1, half, i * cols, 1, cols, this.across);
    for (let c = 0; c < cols; c++) resample(half, c, cols, out, c, cols, rows, this.down);
    return this.lines;
  }
}

interface Taps {
  at: Int32Array; // (samples, 4)
  weight: Float32Array; // (samples, 4)
}

function taps(place: Place, axis: 0 | 1, samples: number): Taps {
  const cells = place.grid[axis];
  const at = new Int32Array(4 * samples);
  const weight = new Float32Array(4 * samples);
  for (let s = 0; s < samples; s++) {
    const pixel = ((s + 0.5) * place.view[axis]) / samples - 0.5;
    const cell = clamp((pixel - place.first[axis]) / place.stride[axis], 0, cells - 1);
    const low = Math.min(Math.floor(cell), cells - 1);
    const t = cell - low;
    const cubic = [
      ((-t + 2) * t - 1) * t * 0.5,
      ((3 * t - 5) * t * t + 2) * 0.5,
      ((-3 * t + 4) * t + 1) * t * 0.5,
      (t - 1) * t * t * 0.5,
    ];
    for (let n = 0; n < 4; n++) {
      at[4 * s + n] = clamp(low - 1 + n, 0, cells - 1);
      weight[4 * s + n] = cubic[n];
    }
  }
  return { at, weight };
}

function resample(
  from: Float32Array, start: number, step: number,
  to: Float32Array, first: number, stride: number, samples: number, { at, weight }: Taps,
): void {
  for (let s = 0, n = 0; s < samples; s++, n += 4) {
    const b = from[start + step * at[n + 1]];
    const c = from[start + step * at[n + 2]];
    const value =
      weight[n] * from[start + step * at[n]] + weight[n + 1] * b + weight[n + 2] * c +
      weight[n + 3] * from[start + step * at[n + 3]];
    const low = b < c ? b : c;
    const high = b < c ? c : b;
    to[first + stride * s] = value < low ? low : value > high ? high : value;
  }
}
