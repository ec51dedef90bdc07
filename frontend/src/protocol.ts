// How good the ranking is: a protocol's figures and their definition, this query's own value, what the index may miss.

import { h, setText } from "./dom";
import { count, plain } from "./format";
import type { IndexMeta, JudgementMeta, JudgingMeta, ProtocolMeta } from "./model";
import { Sheet } from "./sheet";
import { interval } from "./trust-line";

export interface ProtocolEvents {
  judge(what: "figures" | "recall"): void;
  worstFirst(): void;
  closed(): void;
}

export interface Judged {
  protocol: ProtocolMeta;
  index: IndexMeta;
  judging: JudgingMeta;
  query: number;
  value: number | null; // the query's own
}

const PATIENCE = 10_000; // milliseconds until the panel says that the kernel has not begun
const BELOW = 8; // pixels between the button and the panel

export class Protocol extends Sheet {
  constructor(private readonly events: ProtocolEvents, signal: AbortSignal) {
    super("protocol", "How good is this ranking", () => events.closed(), signal);
  }

  /** Below its button, within the sheet. */
  protected place(): void {
    const sheet = this.element.parentElement!.getBoundingClientRect();
    const button = this.back!.getBoundingClientRect();
    const top = button.bottom - sheet.top + BELOW;
    const width = Math.min(600, sheet.width - 40);
    const left = Math.min(Math.max(20, button.left - sheet.left), sheet.width - 20 - width);
    this.element.style.cssText = `top: ${top}px; left: ${left}px; width: ${width}px; max-height: ${Math.max(260, Math.min(0.86 * window.innerHeight, sheet.height - top - 12))}px`;
  }

  draw(judged: Judged, live: boolean): void {
    const { protocol, query, value } = judged;
    const now = protocol.judgement;
    if (!this.changed([judged, live])) return;
    setText(this.said, "");
    if (now) this.said.append(now.name ? h("b", { text: now.name }) : "", now.name ? ` \u00b7 ${now.title}` : now.title);
    this.said.hidden = !now;
    this.fill(
      ...(now ? [figures(now), counts(now, protocol.queries), this.ofQuery(now, query, value), definition(now)] : [this.missing(judged, live)]),
      this.index(judged, live),
    );
  }

  /** Where this query stands among the others. */
  private ofQuery(now: JudgementMeta, query: number, value: number | null): HTMLElement {
    const { name, highIsWorse } = now.sort;
    const worst = h("button", { type: "button", class: "link", "data-testid": "worst-first", text: "Go through the queries, worst first" });
    worst.addEventListener("click", () => this.events.worstFirst(), { signal: this.signal });
    return h(
      "section",
      { class: "of-query" },
      h("h4", {}, `Query ${query}: `, h("span", { class: "number", "data-testid": "query-value", "data-value": String(value) }, value === null ? "not evaluated" : `${name} ${plain(value, highIsWorse ? 0 : 3)}`)),
      spread(now, value),
      worst,
    );
  }

  /** What is known of the neighbours that an approximate index misses. */
  private index({ index, judging }: Judged, live: boolean): HTMLElement {
    const box = (...children: (HTMLElement | string)[]) => h("section", { class: "of-index", "data-testid": "index-recall", "data-kind": index.kind }, h("h4", { text: index.exact ? "The index misses nothing" : "What the index may miss" }), ...children);
    const why = index.reason ? [h("p", { class: "caution", text: reasoned(index.reason) })] : [];
    if (index.exact) return box(h("p", { class: "caution", text: `It compares every image with every query (${index.kind}).` }), ...why);
    const kind = h("p", {}, "An approximate index, ", h("b", { text: index.kind }), ": it may miss a neighbour. ", h("span", { class: "soft", text: "Figures of a protocol do not depend on that: they read the full ranking, exactly." }));
    const { recall } = index;
    if (recall) {
      return box(
        kind,
        ...why,
        h("p", { class: "recall" }, h("b", { class: "number", "data-testid": "recall", "data-value": String(recall.value), text: recall.text })),
        h("p", { class: "caution", text: `The share of the ${recall.k} nearest that the index finds, held against exact search; ${sure(recall)}.` }),
      );
    }
    return box(kind, ...why, this.wish("recall", judging, live, {
      asks: "measure its recall (100 queries)", goes: "Measuring\u2026", late: "Its recall was not measured before this page was exported.", told: "Holds what it finds against exact search.",
    }));
  }

  private missing({ protocol, judging }: Judged, live: boolean): HTMLElement {
    if (protocol.reason) return h("p", { class: "summary", text: `No figures: ${protocol.reason}.` });
    return this.wish("figures", judging, live, {
      asks: "judge the ranking", goes: "Judging\u2026", late: "", told: `Reads the full ranking of ${count(protocol.queries)} queries, exactly.`,
    });
  }

  /** A button that asks the kernel, how far that is, or why it failed. */
  private wish(what: "figures" | "recall", judging: JudgingMeta, live: boolean, say: { asks: string; goes: string; late: string; told: string }): HTMLElement {
    const box = (...children: (HTMLElement | false)[]) => h("section", { class: "missing", "data-testid": `${what}-missing` }, ...children);
    if (!live) return box(h("p", { text: say.late }));
    if (judging.waiting.includes(what)) {
      return box(h("p", { role: "status", text: say.goes }), h("div", { class: "going endless", "aria-hidden": "true" }, h("i", {})), h("p", { class: "caution", text: "The page stays at work meanwhile; the panel may be closed." }));
    }
    const failed = judging.failed[what] ?? "";
    const button = h("button", { type: "button", "data-testid": `judge-${what}`, text: say.asks });
    const told = h("p", { class: "caution", role: "status", text: failed ? "" : say.told });
    button.addEventListener("click", () => {
      this.body.focus({ preventScroll: true });
      button.disabled = true;
      setTimeout(() => setText(told, "No answer from the kernel yet: it is busy, or gone."), PATIENCE);
      this.events.judge(what);
    }, { signal: this.signal });
    return box(failed !== "" && h("p", { class: "failed", role: "alert", text: failed }), button, told);
  }
}

/** The figures in the order in which papers print them, each on a scale from 0 to 1. */
function figures(now: JudgementMeta): HTMLElement {
  return h(
    "div",
    { class: "values", role: "table", "aria-label": "Figures" },
    ...now.figures.map(({ name, value }) =>
      h(
        "div",
        { class: "value", role: "row", "data-testid": "protocol-figure", "data-name": name, "data-value": String(value) },
        h("span", { class: "name", role: "rowheader", text: name }),
        h("span", { class: "scale", "aria-hidden": "true" }, h("i", { style: `width: ${100 * Math.min(1, Math.max(0, value ?? 0))}%` })),
        h("b", { class: "number", role: "cell", text: plain(value, 3) }),
      )),
  );
}

/** Which queries the figures stand for. */
function counts({ valid, dropped, tied }: Pick<JudgementMeta, "valid" | "dropped" | "tied">, queries: number): HTMLElement {
  return h("p", { class: "caution counts", "data-testid": "protocol-counts", text: countsOf({ valid, dropped, tied }, queries) });
}

export function countsOf({ valid, dropped, tied }: Pick<JudgementMeta, "valid" | "dropped" | "tied">, queries: number): string {
  const evaluated = valid === queries ? `All ${count(valid)} queries were evaluated` : `${count(valid)} of ${count(queries)} queries were evaluated`;
  const left = dropped ? `; ${count(dropped)} ${dropped === 1 ? "was" : "were"} dropped, with nothing to find or nothing to ask by` : "";
  if (tied === null) return `${evaluated}${left}.`;
  return `${evaluated}${left}. ${tied ? `${count(tied)} ${tied === 1 ? "is" : "are"} tied: a wrong image has exactly the score of a right one, so their order is chance.` : "None is tied."}`;
}

function definition(now: JudgementMeta): HTMLElement {
  return h(
    "section",
    { class: "definition", "data-testid": "protocol-definition" },
    h("h4", { text: "How it is counted" }),
    h("p", { text: now.definition }),
    now.source && h("p", { class: "caution", text: now.source.endsWith(".") ? now.source : `${now.source}.` }),
  );
}

/** The bin that a value falls into; the last one holds its upper edge. */
export function binOf(edges: number[], value: number): number {
  let at = 0;
  while (at < edges.length - 2 && value >= edges[at + 1]) at++;
  return at;
}

/** How the queries' values are spread, this query's own place marked; the good end on the right. */
function spread({ spread: { edges, counts: tall }, sort }: JudgementMeta, value: number | null): HTMLElement {
  const most = Math.max(1, ...tall);
  const mine = value === null ? -1 : binOf(edges, value);
  const end = (n: number) => (sort.highIsWorse ? String(edges[n]) : plain(edges[n], 2));
  const between = (n: number) => {
    if (!sort.highIsWorse) return `${end(n)} to ${end(n + 1)}`;
    return edges[n + 1] - edges[n] < 2 ? end(n) : `${edges[n]} to ${edges[n + 1] - 1}`;
  };
  const bars = tall.map((queries, n) => h("i", {
    class: n === mine ? "mine" : "", style: `height: ${queries ? Math.max(6, (100 * queries) / most) : 0}%`, title: `${between(n)}: ${count(queries)} ${queries === 1 ? "query" : "queries"}`,
  }));
  const names = [between(0), between(tall.length - 1)];
  if (!sort.highIsWorse) names.splice(0, 2, end(0), end(edges.length - 1));
  if (sort.highIsWorse) {
    bars.reverse();
    names.reverse();
  }
  const heard = `${sort.name} of the queries, worst to best: ${tall.map((queries, n) => (queries ? `${between(n)}: ${queries}` : "")).filter(Boolean).join("; ")}`;
  return h(
    "div",
    { class: "spread" },
    h("div", { class: "bars", role: "img", "aria-label": heard }, ...bars),
    h("div", { class: "ends-of", "aria-hidden": "true" }, h("span", { text: names[0] }), h("span", { text: `${sort.name}, by number of queries` }), h("span", { text: names[1] })),
  );
}

/** How sure a recall is; a sample without a miss has no interval. */
export function sure(recall: NonNullable<IndexMeta["recall"]>): string {
  if (recall.value === 1) return "none was missed, which so few queries cannot promise of the others";
  return `95\u202f% interval ${interval(recall)}`;
}

const reasoned = (reason: string): string => `${reason[0].toUpperCase()}${reason.slice(1)}${reason.endsWith(".") ? "" : "."}`;
