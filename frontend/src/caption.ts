// What is said under a pair: what the method's maps leave out, what it costs, and what is special about this pair.

import { h, setText } from "./dom";
import type { State } from "./scene";

export class Caption {
  readonly element: HTMLElement;
  private readonly title = h("b");
  private readonly says = h("span");
  private readonly note = h("span");
  private readonly cost = h("span");

  constructor(suffix: string) {
    this.element = h("p", { class: "caption-of-pair", "data-testid": `method-note${suffix}` }, this.title, " ", this.says, " ", this.note, " ", this.cost);
  }

  /** Told unasked where maps are one-sided or approximate, or where two methods stand side by side. */
  draw({ method, why }: State, asked: boolean): void {
    const told = asked || approximate({ method, why });
    const note = why?.note ?? "";
    this.element.hidden = !told && !note;
    setText(this.title, `${sentence(method.title)}.`);
    setText(this.says, told ? method.says : "");
    setText(this.note, note && `${sentence(note)}.`);
    setText(this.cost, told ? `Cost: ${method.cost}.` : "");
  }
}

/** Whether the maps need a word of caution: no pairs of cells, or parts that need not add up. */
export function approximate({ method, why }: Pick<State, "method" | "why">): boolean {
  return why ? !why.pairwise || !why.promises : !method.pairwise;
}

/** With a capital at its start, unless it is a name like xCos, and no stop at its end. */
export const sentence = (text: string): string => text.replace(/^[a-z](?![A-Z])/, (letter) => letter.toUpperCase()).replace(/\.$/, "");
