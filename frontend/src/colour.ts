// Signed maps in two hues that every kind of colour vision tells apart; zero is transparent.

import type { Theme } from "./model";

type Rgb = [number, number, number];

const HUES: Record<Theme, { for: Rgb; against: Rgb }> = {
  light: { for: [221, 73, 14], against: [33, 97, 171] },
  dark: { for: [255, 138, 72], against: [88, 162, 255] },
};

const STEPS = 255; // on either side of zero

/** How much of the picture a share of the scale covers; gentle near zero, never quite opaque. */
function cover(share: number): number {
  return 0.92 * Math.pow(Math.abs(share), 0.8);
}

/** Colours of −limit … +limit for canvas, packed as ImageData wants them. */
export function lookup(theme: Theme): Uint32Array {
  const table = new Uint32Array(2 * STEPS + 1);
  const bytes = new Uint8ClampedArray(table.buffer);
  for (let n = -STEPS; n <= STEPS; n++) {
    const [r, g, b] = n < 0 ? HUES[theme].against : HUES[theme].for;
    bytes.set([r, g, b, Math.round(255 * cover(n / STEPS))], 4 * (n + STEPS));
  }
  return table;
}

/** The same colours as Plotly takes them. */
export function colourscale(theme: Theme): [number, string][] {
  const stops: [number, string][] = [];
  for (let n = -16; n <= 16; n++) stops.push([(n + 16) / 32, css(theme, n / 16)]);
  return stops;
}

/** The same colours as a horizontal strip. */
export function gradient(theme: Theme): string {
  const stops: string[] = [];
  for (let n = -8; n <= 8; n++) stops.push(css(theme, n / 8));
  return `linear-gradient(to right, ${stops.join(", ")})`;
}

function css(theme: Theme, share: number): string {
  const hue = share < 0 ? HUES[theme].against : HUES[theme].for;
  return `rgba(${hue.join(", ")}, ${cover(share).toFixed(3)})`;
}

/** Paint a smooth map into an image of the same number of samples. */
export function paint(map: Float32Array, limit: number, table: Uint32Array, into: ImageData): void {
  const pixels = new Uint32Array(into.data.buffer);
  const unit = limit > 0 ? STEPS / limit : 0;
  for (let n = 0; n < map.length; n++) {
    const step = Math.round(map[n] * unit);
    pixels[n] = table[(step < -STEPS ? -STEPS : step > STEPS ? STEPS : step) + STEPS];
  }
}
