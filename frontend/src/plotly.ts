// One plotly.js per page, loaded when the first Explorer is drawn and shared by all of them.

import type { Model } from "./model";

export interface Plotly {
  newPlot(element: HTMLElement, data: unknown[], layout: unknown, config: unknown): Promise<unknown>;
  react(element: HTMLElement, data: unknown[], layout: unknown, config: unknown): Promise<unknown>;
  restyle(element: HTMLElement, update: unknown, traces: number[]): Promise<unknown>;
  relayout(element: HTMLElement, update: unknown): Promise<unknown>;
  purge(element: HTMLElement): void;
}

const LOADED = Symbol.for("dmlviz.plotly");
const LOADING = Symbol.for("dmlviz.plotly.loading");
const page = globalThis as any;

export function loadPlotly(model: Model): Promise<Plotly> {
  if (page[LOADED]) return Promise.resolve(page[LOADED]);
  page[LOADING] ??= fetchBundle(model).then(evaluate);
  page[LOADING].catch(() => {
    delete page[LOADING]; // the next view may fare better
  });
  return page[LOADING];
}

async function fetchBundle(model: Model): Promise<string> {
  const asset = model.get("_plotly");
  let packed = asset;
  if (typeof asset === "string") {
    if (!model.widget_manager) throw new Error("this host gives widgets no access to shared assets");
    packed = (await model.widget_manager.get_model(asset.replace("IPY_MODEL_", ""))).get("data");
  }
  if (!packed?.buffer) throw new Error("the plotly.js bundle did not arrive");
  const bytes = new Uint8Array(packed.buffer, packed.byteOffset, packed.byteLength);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

function evaluate(source: string): Plotly {
  const script = document.createElement("script");
  script.textContent = source;
  document.head.append(script);
  script.remove();
  if (!page[LOADED]) throw new Error("the page refused to run plotly.js");
  page[Symbol.for("dmlviz.plotly.loads")] = (page[Symbol.for("dmlviz.plotly.loads")] ?? 0) + 1;
  return page[LOADED];
}
