// What lies under the cursor, in numbers.

import { h, setAttribute, setText } from "./dom";
import { digitsFor, percent, plain, signed } from "./format";
import { isDistance, line } from "./lines";
import type { Scene, State } from "./scene";

export class Readout {
  readonly element: HTMLElement;
  readonly live = h("div", { class: "only-heard", role: "status", "aria-live": "polite" });
  private readonly lines = {
    value: line("under the cursor", "lead"),
    withOther: line("with the other image", "part"),
    own: line("own length and offset", "part"),
    margin: line("of the margin"),
    share: line("share of the score"),
    cell: line("cell"),
    partner: line("peak"),
    pair: line("with the cell under the cursor"),
  };
  private readonly hint = h("p", { class: "hint" });
  private spoken = "";
  private timer = 0;

  constructor(private readonly suffix: string, signal: AbortSignal) {
    this.element = h(
      "section",
      { class: "card readout", "data-testid": `readout${suffix}`, "aria-label": "Readout" },
      h("div", { class: "lines" }, ...Object.values(this.lines).map(({ row }) => row)),
      this.hint,
    );
    signal.addEventListener("abort", () => clearTimeout(this.timer));
  }

  draw(state: State, scene: Scene): void {
    const { lines } = this;
    const { under, region, pair, active, said } = scene;
    const { why } = state;
    const similarity = why?.numbers.similarity ?? null;
    const least = why?.kind === "cosine" ? 4 : 0;
    const fine = digitsFor(Math.max(why?.overallSize ?? 0, 1e-9), 4, least);
    const finer = digitsFor(Math.max(why?.strongPeak ?? 0, 1e-9), 3, least);
    const likeness = state.reading === "likeness" && !!why?.hasLikeness;
    for (const { row } of Object.values(lines)) row.hidden = true;
    const put = (name: keyof typeof lines, value: string, label?: string) => {
      lines[name].row.hidden = false;
      setText(lines[name].value, value);
      if (label) setText(lines[name].name, label);
    };
    const shares = !!why?.promises && !isDistance(why.kind); // of a difference of larger sums no part is a share
    const shareOf = (value: number) => (similarity ? percent(value / similarity) : "undefined");
    const parted = ({ contribution, ofPairs }: { contribution: number | null; ofPairs: number | null }) => {
      if (!why || !isDistance(why.kind) || contribution === null || ofPairs === null) return;
      put("withOther", signed(ofPairs, fine));
      put("own", signed(contribution - ofPairs, fine));
    };
    let speech = "";
    if (under && active) {
      const where = active.fixed ? "at the pin" : state.hover ? "under the cursor" : "at the mark";
      put("value", under.contribution === null ? "no map" : signed(under.contribution, fine), where);
      if (under.contribution !== null && shares) put("share", shareOf(under.contribution));
      parted(under);
      if (under.cell) put("cell", `${under.side} \u00b7 row ${under.cell[0]}, col ${under.cell[1]}`);
      if (under.margin !== null) put("margin", signed(under.margin, fine));
      if (under.partner) {
        const value = likeness ? plain(under.partner.value) : signed(under.partner.value, finer);
        const [row, col] = under.partner.cell;
        put("partner", `${value} \u00b7 row ${row}, col ${col}`, likeness ? "most alike" : "peak");
      }
      if (pair) put("pair", likeness ? plain(pair.value) : signed(pair.value, finer), `with row ${pair.cell[0]}, col ${pair.cell[1]}`);
      if (under.cell) speech = `${under.side}, row ${under.cell[0]}, column ${under.cell[1]}: contribution ${signed(under.contribution, fine)}`;
    } else if (region) {
      put("value", signed(region.contribution, fine), "the region");
      if (shares) put("share", shareOf(region.contribution));
      parted(region);
      put("cell", `${region.count} of the query`, region.count === 1 ? "cell" : "cells");
      speech = `region of ${region.count} cells: contribution ${signed(region.contribution, fine)}`;
    }
    const instead = insteadOf(state);
    setText(this.hint, hintOf(state, scene, instead));
    this.hint.hidden = this.hint.textContent === "";
    this.element.hidden = this.suffix !== "" && !under && !region && !instead; // the first row's hint holds for both
    this.hint.classList.toggle("told", (said || instead) !== "");
    const exact = under
      ? { side: under.side, row: under.pixel[0], col: under.pixel[1], contribution: under.contribution ?? "" }
      : { side: region ? "region" : "", row: "", col: "", contribution: region?.contribution ?? "" };
    for (const [name, value] of Object.entries(exact)) setAttribute(this.element, `data-${name}`, String(value));
    this.speak(speech);
  }

  /** Say the readout when the pointer has come to rest; every step would be noise. */
  private speak(text: string): void {
    if (text === this.spoken) return;
    this.spoken = text;
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => setText(this.live, text), 500);
  }
}

/** What a method shows in place of the maps that the other, or the one before, can show. */
function insteadOf({ mode, wanted, why, method }: State): string {
  if (!why || mode === wanted) return "";
  if (wanted === "point") return "one-sided: overall maps instead of a point's";
  return method.linear ? "nothing of the other kind to hold it against" : "no margin map: two of its maps may not be subtracted";
}

function hintOf({ why }: State, { under, region, active, said }: Scene, instead: string): string {
  const parts = [said || instead, active?.fixed ? "Pinned. Esc lets go." : ""].filter(Boolean);
  if (parts.length || under || region) return parts.join(" \u00b7 ");
  if (why && !why.pairwise) return "Hover an image to read its map. Click pins a point. This method is one-sided: it has no map of a point.";
  return "Hover either image to see what that point matches in the other. Click pins it. Drag on the query selects a region to rank by.";
}
