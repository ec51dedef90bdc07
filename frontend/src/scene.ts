// What the screen shows for a state: which map lies on which image, at which scale, and what is read out.

import {
  cellOfPixel, cellsIn, columnOf, largest, mixAt, mixedLength, nearestCell, peakOf, pixelOfCell, rowOf,
  toLikeness, valueAt, type Mix,
} from "./maps";
import type { Mode, Pin, Reading, Region, Scale, Side, Theme } from "./model";
import type { Item, Picture, Screen } from "./screen";

export interface Point {
  side: Side;
  row: number; // pixels of the view
  col: number;
}

export interface State {
  screen: Screen;
  item: Item;
  mode: Mode;
  reading: Reading;
  scale: Scale;
  theme: Theme;
  pin: Pin;
  region: Region;
  hover: Point | null;
  resting: Point | null; // where point mode stays when nothing is hovered
}

export interface Shown {
  map: Float32Array | null;
  limit: number;
  what: "overall map" | "point map" | "margin map" | "region map" | "likeness";
  peak: [number, number] | null; // pixels
}

export interface PointReading {
  side: Side;
  pixel: [number, number];
  cell: [number, number];
  contribution: number;
  margin: number | null;
  partner: { cell: [number, number]; value: number } | null; // strongest on the other image
}

export interface Scene {
  query: Shown;
  match: Shown;
  active: (Point & { mix: Mix; fixed: boolean }) | null;
  region: { cells: [number, number][]; contribution: number; count: number } | null;
  under: PointReading | null; // under the pointer, or at the pin
  pair: { value: number; cell: [number, number] } | null; // the pinned point with the cell under the pointer
  missing: boolean; // pairs not here yet
}

export const pictureOf = (state: { screen: Screen; item: Item }, side: Side): Picture =>
  side === "query" ? state.screen.query : state.item.picture;

export const otherSide = (side: Side): Side => (side === "query" ? "match" : "query");

export function compose(state: State): Scene {
  const { item, screen, mode, region } = state;
  const pinned: Point | null = state.pin ? { side: state.pin[0], row: state.pin[1], col: state.pin[2] } : null;
  const resting = mode === "point" && !region ? state.resting : null;
  const point = pinned ?? state.hover ?? resting;
  const active = point ? { ...point, mix: mixOf(state, point), fixed: point === pinned } : null;

  const scene: Scene = {
    query: atRest(state, "query"),
    match: atRest(state, "match"),
    active,
    region: null,
    under: null,
    pair: null,
    missing: false,
  };
  if (region) {
    const mix = cellsIn(screen.query, region);
    scene.region = {
      cells: mix.cells.map((cell) => pixelOfCell(screen.query, Math.floor(cell / screen.query.grid[1]), cell % screen.query.grid[1])),
      contribution: valueAt(item.maps.query, mix),
      count: mix.cells.length,
    };
    if (!active) {
      const map = regionMap(item, mix);
      scene.missing = !map;
      if (map) scene.match = { map, limit: regionLimit(state, item, mix, map), what: "region map", peak: peakPixel(item.picture, map) };
    }
  }
  if (active) {
    const other = otherSide(active.side);
    const shown = pointMap(state, item, active.side, active.mix);
    scene.missing = !shown;
    if (shown) scene[other] = { ...shown, peak: peakPixel(pictureOf(state, other), shown.map!) };
    scene.under = readPoint(state, active, shown);
    const probe = pinned && state.hover && state.hover.side === other ? state.hover : null;
    if (probe && shown) {
      const place = pictureOf(state, other);
      const cell = cellOfPixel(place, probe.row, probe.col);
      scene.pair = { value: valueAt(shown.map!, mixAt(place.grid, cell)), cell: nearestCell(place, cell) };
    }
  }
  return scene;
}

/** The map of a ranked thumbnail: the same point or region as on the screen, or its overall map. */
export function thumbnail(state: State, scene: Scene, item: Item): { map: Float32Array; limit: number } {
  const region = state.region;
  const wantsRegion = region && (state.mode === "point" || state.screen.meta.rankedBy === "region");
  if (state.mode === "point" && scene.active?.side === "query") {
    const shown = pointMap(state, item, "query", scene.active.mix);
    if (shown) return { map: shown.map!, limit: shown.limit };
  } else if (wantsRegion && !scene.active) {
    const mix = cellsIn(state.screen.query, region);
    const map = regionMap(item, mix);
    if (map) return { map, limit: regionLimit(state, item, mix, map) };
  }
  return { map: item.maps.match, limit: overallLimit(state, item) };
}

function mixOf(state: State, point: Point): Mix {
  const place = pictureOf(state, point.side);
  return mixAt(place.grid, cellOfPixel(place, point.row, point.col));
}

function atRest(state: State, side: Side): Shown {
  const { item } = state;
  if (side === "query" && state.mode === "margin" && item.marginMap) {
    const limit = over(state, "margin", item, (each) => (each.marginMap ? largest(each.marginMap) : 0));
    return { map: item.marginMap, limit, what: "margin map", peak: null };
  }
  return { map: item.maps[side], limit: overallLimit(state, item), what: "overall map", peak: null };
}

function overallLimit(state: State, item: Item): number {
  return over(state, "overall", item, (each) => each.overallSize);
}

function pointMap(state: State, item: Item, from: Side, mix: Mix): Shown | null {
  const pairs = item.pairs;
  if (!pairs) return null;
  const cells = item.picture.cells;
  const map =
    from === "query"
      ? rowOf(pairs, cells, mix, new Float32Array(cells))
      : columnOf(pairs, cells, mix, new Float32Array(item.query.cells));
  if (state.reading === "likeness") {
    const own = from === "query" ? item.query : item.picture;
    const other = from === "query" ? item.picture : item.query;
    if (own.gram && other.gram) {
      toLikeness(map, item.meta.scale, mixedLength(own.gram, own.grid, mix), other.gram);
      return { map, limit: 1, what: "likeness", peak: null };
    }
  }
  return { map, limit: pointLimit(state, item, from, mix, map), what: "point map", peak: null };
}

/** A point map's own peak, or a strong point's where that is larger; the largest of the ranking if asked. */
function pointLimit(state: State, item: Item, from: Side, mix: Mix, map: Float32Array): number {
  const own = Math.max(largest(map), item.strongPeak);
  if (state.scale === "pair" || from === "match") return own;
  let limit = limitsOfPoints.get(mix) ?? 0;
  if (!limit) {
    for (const each of state.screen.ranked) {
      if (!each.hasPairs) continue;
      const cells = each.picture.cells;
      limit = Math.max(limit, each.strongPeak, largest(rowOf(each.pairs!, cells, mix, new Float32Array(cells))));
    }
    limitsOfPoints.set(mix, limit);
  }
  return Math.max(limit, own);
}

const limitsOfPoints = new WeakMap<Mix, number>(); // a point is a new mix at every move

function regionMap(item: Item, mix: Mix): Float32Array | null {
  const pairs = item.pairs;
  return pairs && rowOf(pairs, item.picture.cells, mix, new Float32Array(item.picture.cells));
}

function regionLimit(state: State, item: Item, mix: Mix, map: Float32Array): number {
  const key = `region ${mix.cells.join()}`;
  return over(state, key, item, (each) => {
    const own = each === item ? map : each.hasPairs ? regionMap(each, mix) : null;
    return own ? largest(own) : 0;
  });
}

/** One limit: this item's own, or the largest of the whole ranking (kept until the screen changes). */
function over(state: State, key: string, own: Item, size: (item: Item) => number): number {
  if (state.scale === "pair") return size(own);
  const { limits } = state.screen;
  const whole = key.startsWith("region") ? `${key} ${state.screen.arrived}` : key;
  let limit = limits.get(whole);
  if (limit === undefined) {
    limit = Math.max(...state.screen.ranked.map(size));
    limits.set(whole, limit);
  }
  return Math.max(limit, size(own));
}

function peakPixel(picture: Picture, map: Float32Array): [number, number] | null {
  const at = peakOf(map);
  if (!(map[at] > 0)) return null;
  const [row, col] = pixelOfCell(picture, Math.floor(at / picture.grid[1]), at % picture.grid[1]);
  const inside = row >= -0.5 && col >= -0.5 && row <= picture.view[0] - 0.5 && col <= picture.view[1] - 0.5;
  return inside ? [row, col] : null;
}

function readPoint(state: State, point: Point & { mix: Mix }, shown: Shown | null): PointReading {
  const { item } = state;
  const place = pictureOf(state, point.side);
  const cell = cellOfPixel(place, point.row, point.col);
  let partner = null;
  if (shown?.map) {
    const other = pictureOf(state, otherSide(point.side));
    const at = peakOf(shown.map);
    partner = {
      cell: [Math.floor(at / other.grid[1]), at % other.grid[1]] as [number, number],
      value: shown.map[at],
    };
  }
  return {
    side: point.side,
    pixel: [point.row, point.col],
    cell: nearestCell(place, cell),
    contribution: valueAt(item.maps[point.side], point.mix),
    margin:
      state.mode === "margin" && point.side === "query" && item.marginMap
        ? valueAt(item.marginMap, point.mix)
        : null,
    partner,
  };
}
