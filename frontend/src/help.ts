// The keys, on one sheet.

import { h } from "./dom";

const KEYS: [string, string][] = [
  ["[  ]", "previous, next query"],
  ["r", "a query at random"],
  ["/", "find a query"],
  ["\u2190  \u2192", "step through the ranking"],
  ["Enter", "on a ranked image: make it the query; on an image: pin the point"],
  ["arrows", "on an image: move the point, cell by cell"],
  ["Esc", "let go of the pin, then of the region"],
  ["1  2  3", "overall, point, margin"],
  ["m", "the next method"],
  ["c", "a second method beside it, and back"],
  ["t", "how far to trust the method, in figures"],
  ["h", "how good the ranking is, in figures"],
  ["l", "hover shows contribution or likeness"],
  ["s", "scale of this pair or of the whole ranking"],
  ["\u2212  =", "fainter, stronger maps"],
  ["g", "rank by the region, and back"],
  ["o (hold)", "the untouched images"],
  ["?", "this sheet"],
];

export class Help {
  readonly element: HTMLDialogElement;

  constructor(signal: AbortSignal) {
    const close = h("button", { type: "button", class: "step", text: "\u2715", "aria-label": "close" });
    const table = h("div", { class: "keys" });
    for (const [keys, does] of KEYS) {
      table.append(h("div", {}, ...keys.split("  ").map((key) => h("kbd", { text: key }))), h("span", { text: does }));
    }
    this.element = h(
      "dialog",
      { class: "help", "aria-label": "Keys" },
      h("header", {}, h("h3", { text: "Keys" }), close),
      table,
      h("p", { text: "Orange speaks for the match, blue against it. Every number is a share of the score, signs kept. Where a method's parts do not add up to it, the card says what is left." }),
    );
    close.addEventListener("click", () => this.element.close(), { signal });
    this.element.addEventListener("click", (event) => event.target === this.element && this.element.close(), { signal });
  }

  toggle(): void {
    if (this.element.open) this.element.close();
    else this.element.show();
  }
}
