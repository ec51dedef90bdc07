// How far to trust a method: what each test asks, the method's figure with its interval, and what knows nothing.

import { sentence } from "./caption";
import { h, onceAFrame, setAttribute, setText } from "./dom";
import { Sheet } from "./sheet";
import { estimate, interval, settleTicks, trustLine } from "./trust-line";
import type { MethodMeta, TrustEvaluator, TrustFound, TrustMeta } from "./model";

export interface TrustEvents {
  measure(method: string): void;
  closed(): void;
}

const ABOUT = "The dot is the method\u2019s figure, the bar its 95\u202f% interval. Ticks are baselines: maps that know nothing of the pair, or nothing of the question. A figure says something where it stands clear of them.";
const PATIENCE = 10_000; // milliseconds until the panel says that the kernel has not begun

export class Trust extends Sheet {
  private readonly settle: () => void;
  private since = new Map<string, number>();
  private clock = 0;

  constructor(private readonly events: TrustEvents, private readonly all: MethodMeta[], signal: AbortSignal) {
    super("trust", "How far to trust this", () => events.closed(), signal);
    this.settle = onceAFrame(() => settleTicks(this.body), signal);
    const observer = new ResizeObserver(() => this.settle());
    observer.observe(this.body);
    signal.addEventListener("abort", () => {
      observer.disconnect();
      clearInterval(this.clock);
    });
  }

  override show(button: HTMLElement): void {
    super.show(button);
    this.settle();
  }

  /** Above its button. */
  protected place(): void {
    const sheet = this.element.parentElement!.getBoundingClientRect();
    const above = this.back!.parentElement!.getBoundingClientRect().top - 10; // the picker of methods stays in reach
    this.element.style.bottom = `${sheet.bottom - above}px`;
    this.element.style.maxHeight = `${Math.max(260, Math.min(above - sheet.top - 8, 0.86 * window.innerHeight))}px`;
  }

  draw(meta: TrustMeta, methods: MethodMeta[], live: boolean): void {
    for (const name of meta.measuring) if (!this.since.has(name)) this.since.set(name, performance.now());
    for (const name of this.since.keys()) if (meta.measuring[0] !== name) this.since.delete(name);
    if (!this.changed([meta, methods.map(({ name }) => name), live])) return;
    const known = methods.filter(({ name }) => meta.methods[name]);
    setText(this.said, known.length ? `${onPairs(meta, known)} ${meta.known}` : "");
    this.said.hidden = !known.length;
    const shown = meta.evaluators.filter(({ name }) => known.some((method) => meta.methods[method.name][name]));
    const groups: [string, TrustEvaluator[]][] = [
      ["Tests that tell methods apart where the truth is known", shown.filter(({ headline }) => headline)],
      ["Also measured; these do not tell good maps from bad ones by themselves", shown.filter(({ headline }) => !headline)],
    ];
    this.fill(
      ...known.filter(({ name }) => meta.summaries[name]).map((method) => h("p", { class: "summary" }, methods.length > 1 && h("b", { text: `${sentence(method.title)}. ` }), meta.summaries[method.name])),
      ...(known.length ? [h("p", { class: "about-ticks", text: ABOUT })] : []),
      ...methods.filter(({ name }) => !meta.methods[name]).map((method) => this.missing(meta, method, live)),
      ...groups.filter(([, tests]) => tests.length).flatMap(([title, tests], n) => [
        h("h4", { class: n || !tests[0].headline ? "weak" : "", text: title }),
        ...tests.map((test) => this.test(meta, test, known, methods.length > 1)),
      ]),
      ...(known.length ? [unasked(meta, known, shown)] : []),
    );
    this.settle();
    this.tick(meta);
  }

  /** One test: the question, a line for each method, the baselines, and what it does not tell. */
  private test(meta: TrustMeta, test: TrustEvaluator, methods: MethodMeta[], named: boolean): HTMLElement {
    const lines = methods.map((method) => ({ method, found: meta.methods[method.name][test.name] }));
    const same = new Set(lines.filter(({ found }) => found).map(({ found }) => JSON.stringify(found.baselines))).size < 2;
    const asked = lines.filter(({ found }) => found);
    return h(
      "section",
      { class: "test", "data-testid": "trust-row", "data-evaluator": test.name },
      h("p", { class: "question", text: test.question || sentence(test.title) }),
      h("p", { class: "meta" }, h("b", { text: test.title }), ` \u00b7 ${test.figure === test.title ? "" : `${test.figure}, `}${test.better} is better`),
      ...lines.map(({ method, found }) =>
        found
          ? trustLine(method, found, test, meta.baselines, { named, ticks: !same || found === asked[asked.length - 1].found })
          : h("p", { class: "not-asked", text: `${sentence(method.title)}: ${whyNot(meta, test.name, method.name) || "not asked of this method"}.` })),
      otherFigures(asked, named),
      test.caution && h("p", { class: "caution", "data-testid": "trust-caution", text: `${sentence(test.caution)}.` }),
    );
  }

  /** A method without figures: how to get them, how far that is, or why it failed. */
  private missing(meta: TrustMeta, method: MethodMeta, live: boolean): HTMLElement {
    const title = sentence(method.title);
    const at = meta.measuring.indexOf(method.name);
    const failed = meta.failed[method.name];
    const box = (...children: (HTMLElement | false)[]) => h("section", { class: "missing", "data-testid": "trust-missing", "data-method": method.name }, ...children);
    if (at === 0) {
      return box(
        h("p", { role: "status" }, `Measuring ${title}\u2026 `, h("span", { class: "number elapsed", "data-method": method.name })),
        h("div", { class: "going", "aria-hidden": "true" }, h("i", {})),
        h("p", { class: "caution", text: "The page stays at work meanwhile; the panel may be closed." }),
      );
    }
    if (at > 0) return box(h("p", { role: "status", text: `${title} is measured after ${sentence(this.all.find(({ name }) => name === meta.measuring[0])?.title ?? meta.measuring[0])}.` }));
    if (!live) return box(h("p", { text: `No figures of ${title} were measured before this page was exported.` }));
    const button = h("button", { type: "button", "data-testid": "trust-measure", "data-method": method.name, text: `measure (about ${meta.seconds} s)` });
    const told = h("p", { class: "caution", role: "status", text: failed ? "" : "Every test that applies to this gallery, on as many of its pairs as the time allows, with baselines." });
    button.addEventListener("click", () => {
      this.body.focus({ preventScroll: true });
      button.disabled = true;
      setTimeout(() => setText(told, "No answer from the kernel yet: it is busy, or gone."), PATIENCE);
      this.events.measure(method.name);
    }, { signal: this.signal });
    return box(
      failed ? h("p", { class: "failed", role: "alert", text: `${title} could not be measured. ${failed}` }) : h("p", { text: `No figures of ${title} have been measured on this gallery yet.` }),
      button,
      told,
    );
  }

  /** Count the seconds of what is being measured. */
  private tick(meta: TrustMeta): void {
    clearInterval(this.clock);
    const name = meta.measuring[0];
    const said = this.body.querySelector<HTMLElement>(".elapsed");
    const bar = this.body.querySelector<HTMLElement>(".going i");
    if (!name || !said || !bar) return;
    const show = () => {
      const seconds = (performance.now() - (this.since.get(name) ?? performance.now())) / 1000;
      setText(said, seconds < meta.seconds ? `${Math.floor(seconds)} s of about ${meta.seconds} s` : `${Math.floor(seconds)} s; soon done`);
      setAttribute(bar, "style", `width: ${Math.min(100, (100 * seconds) / meta.seconds)}%`);
      if (!this.open) clearInterval(this.clock);
    };
    show();
    this.clock = window.setInterval(show, 500);
  }
}

/** The figures beside the headline, folded away. */
function otherFigures(asked: { method: MethodMeta; found: TrustFound }[], named: boolean): HTMLElement | string {
  const names = [...new Set(asked.flatMap(({ found }) => found.others.map(({ name }) => name)))];
  if (!names.length) return "";
  const cell = (found: TrustFound, name: string) => {
    const other = found.others.find((each) => each.name === name);
    return h("td", { class: "number" }, ...(other ? [estimate(other), h("span", { text: interval(other) })] : []));
  };
  return h(
    "details",
    { class: "others" },
    h("summary", { text: names.length === 1 ? "another figure" : `${names.length} other figures` }),
    h("table", {},
      named && h("tr", {}, h("td"), ...asked.map(({ method }) => h("th", { scope: "col", text: sentence(method.title) }))),
      ...names.map((name) => h("tr", {}, h("th", { scope: "row", text: name }), ...asked.map(({ found }) => cell(found, name))))),
  );
}

/** On which pairs the methods were asked. */
function onPairs({ pairs }: TrustMeta, methods: MethodMeta[]): string {
  const each = methods.map(({ name, title }) => ({ title: sentence(title), ...pairs[name] }));
  const rules = new Set(each.map(({ rule }) => rule));
  const told = (counts: string, rule: string) => `Measured on ${counts}${rule && `: ${rule}`}.`;
  if (new Set(each.map(({ count }) => count)).size === 1 && rules.size === 1) return told(each[0].count, each[0].rule);
  if (rules.size === 1) return told(each.map(({ title, count }) => `${count} (${title})`).join(" and "), each[0].rule);
  return each.map(({ title, count, rule }) => `${title}: ${told(count, rule).replace(/^M/, "m")}`).join(" ");
}

function whyNot({ unasked: reasons }: TrustMeta, evaluator: string, method: string): string {
  return reasons.find((each) => each.evaluator === evaluator && (each.method === method || each.method === ""))?.reason ?? "";
}

/** The tests that none of these methods was asked, and why. */
function unasked(meta: TrustMeta, methods: MethodMeta[], shown: TrustEvaluator[]): HTMLElement | string {
  const tests = new Map<string, (typeof meta.unasked)[number]>();
  for (const each of meta.unasked) {
    const ours = each.method === "" || methods.some(({ name }) => name === each.method);
    if (ours && !shown.some(({ name }) => name === each.evaluator) && !tests.has(each.evaluator)) tests.set(each.evaluator, each);
  }
  if (!tests.size) return "";
  const byReason = new Map<string, string[]>();
  for (const { title, reason, headline } of tests.values()) {
    byReason.set(reason, [...(byReason.get(reason) ?? []), headline ? `${title} (which tells methods apart)` : title]);
  }
  return h(
    "section",
    { class: "unasked", "data-testid": "trust-unasked" },
    h("h4", { class: "weak", text: "Not asked here" }),
    ...[...byReason].map(([reason, titles]) => h("p", { class: "caution" }, h("b", { text: sentence(titles.join("; ")) }), `: ${reason}.`)),
  );
}
