// Where a point goes: pinned and let go by a click, moved from cell to cell by the keyboard. No page in here.

import { cellOfPixel, nearestCell, pixelOfCell, type Place } from "./maps";
import type { Pin, Side } from "./model";

/** The pin after a click: the point, or none where the click fell on the pinned cell. */
export function pinAfter(pin: Pin, place: Place & { view: [number, number] }, side: Side, row: number, col: number): Pin {
  const tidy = (value: number) => Math.round(10 * value) / 10;
  const cell = (r: number, c: number) => nearestCell(place, cellOfPixel(place, r, c)).join();
  const again = pin && pin[0] === side && cell(pin[1], pin[2]) === cell(row, col);
  return again ? null : [side, tidy(row), tidy(col)];
}

/** The pixel of the next cell; the middle cell's where the pointer has not been on this side yet. */
export function nextPoint(
  place: Place & { view: [number, number] }, from: { row: number; col: number } | null, down: number, across: number,
): [number, number] {
  const [rows, cols] = place.grid;
  let cell: [number, number] = [Math.floor(rows / 2), Math.floor(cols / 2)];
  if (from) {
    cell = nearestCell(place, cellOfPixel(place, from.row, from.col));
    cell = [Math.min(rows - 1, Math.max(0, cell[0] + down)), Math.min(cols - 1, Math.max(0, cell[1] + across))];
  }
  const [row, col] = pixelOfCell(place, ...cell);
  const inside = (value: number, size: number) => Math.min(size - 0.5, Math.max(-0.5, value));
  return [inside(row, place.view[0]), inside(col, place.view[1])];
}
