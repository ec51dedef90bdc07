// A message's buffer, read by reference, and pair tensors made of what a small page carries.

import type { FactorsRef, Ref } from "./model";

export interface Factors {
  values: Int16Array;
  rank: number;
  step: number;
}

export class Data {
  private readonly unpacked = new Map<number, Factors>();

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

  /** Rounded local embeddings of one image; low bytes come first, then high ones. */
  factors(ref: FactorsRef): Factors {
    let found = this.unpacked.get(ref.o);
    if (!found) {
      const bytes = this.bytes(ref);
      const size = bytes.length / 2;
      const values = new Int16Array(size);
      for (let n = 0; n < size; n++) values[n] = bytes[n] | (bytes[size + n] << 8);
      this.unpacked.set(ref.o, (found = { values, rank: ref.rank, step: ref.step }));
    }
    return found;
  }
}

/** The pair tensor as products of two images' local embeddings. */
export function product(q: Factors, g: Factors, scale: number): Float32Array {
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

/** Products of neighbouring cells, (5, h, w), from rounded local embeddings. */
export function gramOf({ values, rank, step }: Factors, [h, w]: [number, number]): Float32Array {
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
