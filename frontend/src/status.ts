// What the screen says about itself: how far explanations have come, what is greyed and why, where it looks at rest.

import { sentence } from "./caption";
import { peakOf, pixelOfCell } from "./maps";
import { ONE_SIDED, pictureOf, type Point, type State } from "./scene";
import type { Wishes } from "./wishes";

/** How far a slow method has come with the ranking; `more`: the rest waits to be asked for. */
export function progressOf({ screen, method }: State, live: boolean, wishes: Wishes): { text: string; more: boolean } {
  const title = sentence(method.title);
  const made = screen.ranked.filter((item) => item.whys.has(method.name));
  const count = `${made.length} of ${screen.ranked.length}`;
  if (made.length < screen.ranked.length) {
    if (!live) return { text: `${title}: this saved page carries ${count} pairs.`, more: false };
    const pace = wishes.holdsBack(method.name);
    if (pace) return { text: `${title} takes ${pace.toPrecision(2)} s a pair, so images are explained as they come into focus: ${count} so far.`, more: true };
    return { text: `${title}: ${count} pairs explained.`, more: false };
  }
  const bare = made.every((item) => !item.whys.get(method.name)!.fields.match);
  return { text: bare ? `${title} maps the query only, so the ranked images carry no map.` : "", more: false };
}

/** Why something is greyed that none of the methods on the screen can show; "" where it is not. */
export function limitsOf(states: State[], live: boolean, reason: string) {
  const { screen, item, region } = states[0];
  const ranked = screen.meta.rankedBy === "region";
  const none = (can: (state: State) => boolean) => !states.some(can);
  const linear = states.some(({ method }) => method.linear);
  const noMargin = none(({ method, why }) => method.linear && (!why || !!why.margin || (live && item.meta.other !== null)));
  return {
    point: none(({ method, why }) => why?.pairwise ?? method.pairwise) ? ONE_SIDED : "",
    margin: !noMargin ? "" : linear ? screen.meta.whyNoMargin : `the difference of two ${states[0].method.title} maps does not explain the difference of two scores`,
    likeness: none(({ why }) => !why || why.hasLikeness) ? "this method has no local embeddings to compare" : "",
    region: !live ? reason : region || ranked ? "" : "drag on the query to select a region first",
  };
}

/** Where point mode looks when nothing is hovered: the peak of the query's map, or its middle. */
export function restingPoint(state: State): Point {
  const { view } = pictureOf(state, "query");
  const field = state.why?.fields.query;
  let [row, col] = [(view[0] - 1) / 2, (view[1] - 1) / 2];
  if (field) {
    const peak = peakOf(field.map);
    [row, col] = pixelOfCell(field, Math.floor(peak / field.grid[1]), peak % field.grid[1]);
  }
  const inside = (value: number, size: number) => Math.min(size - 1, Math.max(0, value));
  return { side: "query", row: inside(row, view[0]), col: inside(col, view[1]) };
}
