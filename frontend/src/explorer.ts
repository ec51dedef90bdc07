// The Explorer's page: what anywidget asks of a module, and the same for a page with no kernel.

import { h } from "./dom";
import type { Model } from "./model";
import { PageModel, type PagePayload } from "./page";
import { View } from "./view";

function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
  const life = new AbortController();
  try {
    new View(model, el, life.signal);
  } catch (problem) {
    el.append(h("pre", { text: `The Explorer could not be drawn: ${problem}` }));
    throw problem;
  }
  return () => life.abort();
}

/** Draw an exported page: no kernel, no network. */
function open(el: HTMLElement, payload: PagePayload, data: DataView, plotly: Uint8Array): () => void {
  return render({ model: new PageModel(payload, data, plotly), el });
}

(globalThis as any)[Symbol.for("dmlviz.open")] = open;

export default { render };
