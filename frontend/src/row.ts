// One row of the bench: a pair explained by one method, on both images and in numbers.

import { approximate, Caption } from "./caption";
import { h } from "./dom";
import { MarginCard } from "./margin";
import type { Side } from "./model";
import { Panel, type PanelEvents } from "./panel";
import { Readout } from "./readout";
import { compose, pictureOf, type Scene, type State } from "./scene";
import type { Picture } from "./screen";
import { ScoreCard } from "./score";

export interface RowEvents extends PanelEvents {
  focus(rank: number): void;
  end: (() => void) | null; // of the comparison
  again(): void; // draw once more
}

export class Row {
  readonly panels: Record<Side, Panel>;
  readonly readout: Readout;
  readonly elements: HTMLElement[];
  private readonly score: ScoreCard;
  private readonly margin: MarginCard;
  private readonly caption: Caption;
  private readonly cards: HTMLElement;
  private open = false; // what the method says, asked for

  constructor(suffix: string, events: RowEvents, signal: AbortSignal) {
    this.panels = { query: new Panel("query", suffix, events, signal), match: new Panel("match", suffix, events, signal) };
    this.caption = new Caption(suffix);
    const about = () => {
      this.open = !this.open;
      events.again();
    };
    this.score = new ScoreCard(suffix, about, events.end, signal);
    this.margin = new MarginCard(events.focus, signal);
    this.readout = new Readout(suffix, signal);
    this.cards = h("div", { class: "cards" }, this.score.element, this.margin.element, this.readout.element);
    const pair = h("div", { class: "pair" }, this.panels.query.element, this.panels.match.element, this.caption.element);
    this.elements = [pair, this.cards];
    if (suffix) for (const element of this.elements) element.classList.add("second");
  }

  /** Put the row on the bench, before what follows it, or take it off. */
  place(before: HTMLElement | null): void {
    if (!before) for (const element of this.elements) element.remove();
    else if (!this.elements[0].isConnected) before.before(...this.elements);
  }

  /** Everything but the maps, which follow the pointer. */
  draw(state: State, failed: string, compared: boolean): void {
    const { screen, item } = state;
    this.panels.query.show(screen.query);
    this.panels.match.show(item.picture);
    const label = (of: Picture) => h("span", { class: "label", text: of.label ?? of.name, title: of.name });
    const badge = item.hit === null || !screen.meta.labelled
      ? ""
      : h("span", { class: `badge ${item.hit ? "hit" : "miss"}`, text: item.hit ? "HIT" : "MISS" });
    const by = `, explained by ${state.method.title}`;
    const second = this.elements[0].classList.contains("second"); // its images are named above it
    this.panels.query.title("query", second ? [] : [label(screen.query)],
      `Query image ${screen.query.name}${by}. Arrow keys move the point, Enter pins it.`);
    this.panels.match.title(`rank ${item.rank}`, second ? [] : [label(item.picture), badge],
      `Match of rank ${item.rank}, ${item.picture.name}${by}. Arrow keys move the point, Enter pins it.`);
    this.score.draw(state, failed, compared || approximate(state) ? null : this.open);
    this.caption.draw(state, this.open || compared);
    this.margin.draw(state);
    this.cards.classList.toggle("margin-shown", !this.margin.element.hidden);
  }

  /** What moves with the pointer, and nothing else. */
  drawMaps(state: State, waiting: string): Scene {
    const scene = compose(state);
    const { item, screen, mode } = state;
    const other = mode === "margin" ? screen.other(item) : null;
    for (const side of ["query", "match"] as Side[]) {
      const words: [string, string] =
        scene[side].what === "margin map" && other
          ? [`for rank ${other.rank}`, `for rank ${item.rank}`]
          : scene[side].what === "likeness" ? ["unlike", "alike"] : ["against", "for"];
      const here = scene.active?.side === side ? scene.active : null;
      const wait = waiting || (scene.missing && !here ? "reading this pair\u2026" : "");
      this.panels[side].draw(scene[side], state.theme, words, wait);
      this.panels[side].mark({
        ring: here ? [here.row, here.col] : null,
        ringKind: here?.fixed ? "pin" : state.hover ? "hover" : "rest",
        peak: scene[side].peak,
        region: side === "query" ? state.region : null,
        cells: side === "query" && scene.region ? scene.region.cells : [],
      });
    }
    this.readout.draw(state, scene);
    return scene;
  }

  /** Tell whoever listens that the maps have followed the pointer. */
  tell(state: State, scene: Scene, stamp: number): void {
    if (!state.hover) return;
    const { side, row, col } = state.hover;
    const contribution = scene.pair ? scene.pair.value : (scene.under?.contribution ?? 0);
    this.panels[side].stage.dispatchEvent(
      new CustomEvent("dmlviz:hover", {
        bubbles: true,
        composed: true,
        detail: { side, row, col, contribution, milliseconds: performance.now() - stamp },
      }),
    );
  }

  usePlotly(plotly: Parameters<Panel["usePlotly"]>[0]): void {
    for (const panel of Object.values(this.panels)) panel.usePlotly(plotly);
  }
}

/** The cells that arrow keys go through on an image: the map's own, or an eighth of a picture without one. */
export function placeFor(state: State, side: Side) {
  const field = state.why?.fields[side];
  if (field) return field;
  const { view } = pictureOf(state, side);
  const stride: [number, number] = [view[0] / 8, view[1] / 8];
  return { view, grid: [8, 8] as [number, number], stride, first: stride.map((s) => s / 2 - 0.5) as [number, number] };
}
