// What one row of the bench shows for a state: which map lies on which image, at which scale, and what is read out.

import {
  cellOfPixel, cellsIn, columnOf, largest, mixAt, mixedLength, nearestCell, peakOf, pixelOfCell, rowOf,
  toLikeness, valueAt, type Mix, type Place,
} from "./maps";
import type { MethodMeta, Mode, Pin, Reading, Region, Scale, Side, Theme } from "./model";
import type { Item, Picture, Screen } from "./screen";
import type { Field, Why } from "./why";

export interface Point {
  side: Side;
  row: number; // pixels of the view
  col: number;
}

export interface State {
  screen: Screen;
  item: Item;
  method: MethodMeta;
  why: Why | null; // null: not made yet
  mode: Mode; // as this method can show it
  wanted: Mode;
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
  place: Place | null;
  limit: number;
  what: "overall map" | "point map" | "margin map" | "region map" | "likeness" | "no map";
  peak: [number, number] | null; // pixels
}

export interface PointReading {
  side: Side;
  pixel: [number, number];
  cell: [number, number] | null; // null where the method has no map of that image
  contribution: number | null;
  ofPairs: number | null; // of the contribution, what the pairs with the other image make
  margin: number | null;
  partner: { cell: [number, number]; value: number } | null; // strongest on the other image
}

export interface Scene {
  query: Shown;
  match: Shown;
  active: (Point & { mix: Mix | null; fixed: boolean }) | null;
  region: { cells: [number, number][]; contribution: number; ofPairs: number | null; count: number } | null;
  under: PointReading | null; // under the pointer, or at the pin
  pair: { value: number; cell: [number, number] } | null; // the pinned point with the cell under the pointer
  missing: boolean; // pairs not here yet
  said: string; // why a point or region has no map on the other image
}

export const ONE_SIDED = "one-sided: no map of a point";

export const pictureOf = (state: { screen: Screen; item: Item }, side: Side): Picture =>
  side === "query" ? state.screen.query : state.item.picture;

export const otherSide = (side: Side): Side => (side === "query" ? "match" : "query");

export function compose(state: State): Scene {
  const { why, mode, region } = state;
  const pinned: Point | null = state.pin ? { side: state.pin[0], row: state.pin[1], col: state.pin[2] } : null;
  const resting = mode === "point" && !region ? state.resting : null;
  const point = pinned ?? state.hover ?? resting;
  const active = point ? { ...point, mix: mixOf(why, point), fixed: point === pinned } : null;

  const scene: Scene = {
    query: atRest(state, "query"),
    match: atRest(state, "match"),
    active,
    region: null,
    under: null,
    pair: null,
    missing: false,
    said: "",
  };
  if (!why) return scene;
  if (region && why.fields.query) {
    const field = why.fields.query;
    const mix = cellsIn(field, region);
    scene.region = {
      cells: mix.cells.map((cell) => pixelOfCell(field, Math.floor(cell / field.grid[1]), cell % field.grid[1])),
      contribution: valueAt(field.map, mix),
      ofPairs: why.pairwise ? valueAt(field.ofPairs, mix) : null,
      count: mix.cells.length,
    };
    if (!active) {
      const map = regionMap(why, mix);
      scene.missing = !map && why.pairwise;
      if (!why.pairwise) scene.said = "one-sided: no map of a region";
      if (map) scene.match = on(why.fields.match!, map, regionLimit(state, why, region, map), "region map");
    }
  }
  if (active) {
    const other = otherSide(active.side);
    const shown = active.mix && pointMap(state, why, active.side, active.mix);
    scene.missing = !shown && why.pairwise;
    if (!why.pairwise) scene.said = ONE_SIDED;
    if (!active.mix) scene.said = `one-sided: no map of the ${active.side === "query" ? "query" : "match"}`;
    if (shown) scene[other] = shown;
    scene.under = readPoint(state, why, active, shown);
    const probe = pinned && state.hover && state.hover.side === other ? state.hover : null;
    if (probe && shown) {
      const place = why.fields[other]!;
      const cell = cellOfPixel(place, probe.row, probe.col);
      scene.pair = { value: valueAt(shown.map!, mixAt(place.grid, cell)), cell: nearestCell(place, cell) };
    }
  }
  return scene;
}

/** The map of a ranked thumbnail: the same point or region as on the screen, or its overall map. */
export function thumbnail(state: State, scene: Scene, item: Item): Shown | null {
  const why = item.whys.get(state.method.name);
  const field = why?.fields.match;
  if (!why || !field) return null;
  const { region } = state;
  const wantsRegion = region && (state.mode === "point" || state.screen.meta.rankedBy === "region");
  if (state.mode === "point" && scene.active?.side === "query" && why.fields.query) {
    const mix = scene.active.mix ?? mixOf(why, scene.active);
    const shown = mix && pointMap(state, why, "query", mix);
    if (shown) return shown;
  } else if (wantsRegion && !scene.active && why.fields.query) {
    const map = regionMap(why, cellsIn(why.fields.query, region));
    if (map) return on(field, map, regionLimit(state, why, region, map), "region map");
  }
  return { map: field.map, place: field, limit: overallLimit(state, why), what: "overall map", peak: null };
}

/** The cells round a point, where the method has any on that image. */
function mixOf(why: Why | null, point: Point): Mix | null {
  const field = why?.fields[point.side];
  return field ? mixAt(field.grid, cellOfPixel(field, point.row, point.col)) : null;
}

const NOTHING: Shown = { map: null, place: null, limit: 0, what: "no map", peak: null };

function on(field: Field, map: Float32Array, limit: number, what: Shown["what"]): Shown {
  return { map, place: field, limit, what, peak: peakPixel(field, map) };
}

function atRest(state: State, side: Side): Shown {
  const { why } = state;
  const field = why?.fields[side];
  if (!why || !field) return NOTHING;
  if (side === "query" && state.mode === "margin" && why.marginMap) {
    const limit = over(state, "margin", why, (each) => (each.marginMap ? largest(each.marginMap) : 0));
    return { map: why.marginMap, place: field, limit, what: "margin map", peak: null };
  }
  return { map: field.map, place: field, limit: overallLimit(state, why), what: "overall map", peak: null };
}

function overallLimit(state: State, why: Why): number {
  return over(state, "overall", why, (each) => each.overallSize);
}

function pointMap(state: State, why: Why, from: Side, mix: Mix): Shown | null {
  const { pairs } = why;
  const { query, match } = why.fields;
  if (!pairs || !query || !match) return null;
  const cells = match.cells;
  const map =
    from === "query"
      ? rowOf(pairs, cells, mix, new Float32Array(cells))
      : columnOf(pairs, cells, mix, new Float32Array(query.cells));
  const [own, other] = from === "query" ? [query, match] : [match, query];
  if (state.reading === "likeness" && why.hasLikeness) {
    toLikeness(map, why.scale, mixedLength(own.gram!, own.grid, mix), other.gram!);
    return on(other, map, 1, "likeness");
  }
  return on(other, map, pointLimit(state, why, from, mix, map), "point map");
}

/** A point map's own peak, or a strong point's where that is larger; the largest of the ranking if asked. */
function pointLimit(state: State, why: Why, from: Side, mix: Mix, map: Float32Array): number {
  const own = Math.max(largest(map), why.strongPeak);
  if (state.scale === "pair" || from === "match") return own;
  let limit = limitsOfPoints.get(mix) ?? 0;
  if (!limit) {
    for (const { whys } of state.screen.ranked) {
      const each = whys.get(state.method.name);
      if (!each?.hasPairs) continue;
      const cells = each.fields.match!.cells;
      limit = Math.max(limit, each.strongPeak, largest(rowOf(each.pairs!, cells, mix, new Float32Array(cells))));
    }
    limitsOfPoints.set(mix, limit);
  }
  return Math.max(limit, own);
}

const limitsOfPoints = new WeakMap<Mix, number>(); // a point is a new mix at every move

function regionMap(why: Why, mix: Mix): Float32Array | null {
  const { pairs } = why;
  const cells = why.fields.match?.cells ?? 0;
  return pairs && rowOf(pairs, cells, mix, new Float32Array(cells));
}

function regionLimit(state: State, why: Why, region: NonNullable<Region>, map: Float32Array): number {
  return over(state, `region ${region.join()}`, why, (each) => {
    const field = each.fields.query;
    const own = each === why ? map : each.hasPairs && field ? regionMap(each, cellsIn(field, region)) : null;
    return own ? largest(own) : 0;
  });
}

/** One limit: this pair's own, or the largest of the whole ranking (kept until more explanations come). */
function over(state: State, what: string, own: Why, size: (why: Why) => number): number {
  if (state.scale === "pair") return size(own);
  const { limits, ranked, arrived } = state.screen;
  const key = `${state.method.name} ${what} ${arrived}`;
  let limit = limits.get(key);
  if (limit === undefined) {
    limit = 0;
    for (const { whys } of ranked) {
      const each = whys.get(state.method.name);
      if (each) limit = Math.max(limit, size(each));
    }
    limits.set(key, limit);
  }
  return Math.max(limit, size(own));
}

function peakPixel(field: Field, map: Float32Array): [number, number] | null {
  const at = peakOf(map);
  if (!(map[at] > 0)) return null;
  const [row, col] = pixelOfCell(field, Math.floor(at / field.grid[1]), at % field.grid[1]);
  const inside = row >= -0.5 && col >= -0.5 && row <= field.view[0] - 0.5 && col <= field.view[1] - 0.5;
  return inside ? [row, col] : null;
}

function readPoint(state: State, why: Why, point: Point & { mix: Mix | null }, shown: Shown | null): PointReading {
  const field = why.fields[point.side];
  let partner = null;
  if (shown?.map && shown.place) {
    const at = peakOf(shown.map);
    const columns = shown.place.grid[1];
    partner = { cell: [Math.floor(at / columns), at % columns] as [number, number], value: shown.map[at] };
  }
  return {
    side: point.side,
    pixel: [point.row, point.col],
    cell: field ? nearestCell(field, cellOfPixel(field, point.row, point.col)) : null,
    contribution: field && point.mix ? valueAt(field.map, point.mix) : null,
    ofPairs: why.pairwise && field && point.mix ? valueAt(field.ofPairs, point.mix) : null,
    margin:
      state.mode === "margin" && point.side === "query" && why.marginMap && point.mix
        ? valueAt(why.marginMap, point.mix)
        : null,
    partner,
  };
}
