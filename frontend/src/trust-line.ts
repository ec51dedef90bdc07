// A method's figure on its scale: the dot, its interval, and the baselines as labelled ticks.

import { sentence } from "./caption";
import { h } from "./dom";
import { plain, tiny } from "./format";
import type { MethodMeta, TrustEvaluator, TrustFigure, TrustFound } from "./model";

const GAP = 10; // pixels between the labels of two ticks
const BEYOND = 24; // pixels that labels may stick out on the right
const LEAD = 9; // pixels between a tick and its label
const ROW = 15; // pixels from one row of labels to the next

/** A figure with as many digits as its interval bears. */
export function estimate({ value, low, high }: TrustFigure): string {
  return figure(value, digitsOf({ value, low, high }));
}

export function interval({ value, low, high }: Pick<TrustFigure, "value" | "low" | "high">): string {
  if (low === null || high === null) return "no interval";
  const digits = digitsOf({ value, low, high });
  return `${figure(low, digits)} to ${figure(high, digits)}`;
}

function digitsOf({ low, high }: Pick<TrustFigure, "value" | "low" | "high">): number {
  const wide = (high ?? 0) - (low ?? 0);
  return wide > 0 && wide < 0.02 ? 3 : 2;
}

function figure(value: number | null, digits: number): string {
  const size = Math.abs(value ?? 0);
  if (size > 0 && size < 0.0005) return tiny(value);
  return plain(value, size > 0 && size < 0.005 ? 3 : digits);
}

/** Where a value lies on a scale, from 0 to 100. */
export function along([low, high]: [number, number], value: number): number {
  return (100 * (Math.min(high, Math.max(low, value)) - low)) / (high - low);
}

/**
 * Left edges of labels that stand in one row in their order, none touching the next, each as near to its own place as
 * the others allow: those that would touch move apart from their common middle.
 */
export function besideEachOther(labels: { middle: number; width: number }[], gap: number, low: number, high: number): number[] {
  const groups: { first: number; count: number; sum: number }[] = []; // sum: of where the group's start should lie
  let before = 0; // width of all labels so far
  const offsets: number[] = [];
  labels.forEach(({ middle, width }, n) => {
    offsets.push(before);
    groups.push({ first: n, count: 1, sum: middle - width / 2 - before });
    before += width + gap;
    while (groups.length > 1) {
      const [a, b] = groups.slice(-2);
      if (a.sum / a.count <= b.sum / b.count) break;
      groups.splice(-2, 2, { first: a.first, count: a.count + b.count, sum: a.sum + b.sum });
    }
  });
  const most = high - before + gap; // where a row that ends at `high` starts
  return groups.flatMap(({ first, count, sum }) =>
    offsets.slice(first, first + count).map((offset) => Math.max(low, Math.min(most, sum / count)) + offset));
}

export function trustLine(
  method: MethodMeta, found: TrustFound, test: TrustEvaluator, says: Record<string, string>, { named, ticks }: { named: boolean; ticks: boolean },
): HTMLElement {
  const { value, low, high, trials, leftOut } = found.figure;
  const at = (x: number) => `left: ${along(test.scale, x)}%`;
  const likewise = (baseline: TrustFigure) => figure(baseline.value, digitsOf(found.figure)); // in as many digits
  const words = found.baselines.map((baseline) => `${baseline.name} ${likewise(baseline)}`);
  const heard = `${method.title}: ${estimate(found.figure)}, 95 % interval ${interval(found.figure)}, n = ${trials}${words.length ? `; baselines: ${words.join(", ")}` : ""}`;
  const axis = h("div", { class: "axis", role: "img", "aria-label": heard });
  if (test.scale[0] < 0) axis.append(h("i", { class: "zero", style: at(0) }));
  for (const baseline of found.baselines) if (baseline.value !== null) axis.append(h("i", { class: "tick", style: at(baseline.value) }));
  if (low !== null && high !== null) {
    const from = along(test.scale, low);
    axis.append(h("i", { class: "between", style: `left: ${from}%; width: ${along(test.scale, high) - from}%` }));
  }
  if (value !== null) axis.append(h("i", { class: "dot", style: at(value) }));
  const labels = h("div", { class: "tick-labels", "aria-hidden": "true" });
  for (const baseline of ticks ? found.baselines : []) {
    if (baseline.value === null) continue;
    labels.append(
      h("span", { class: "tick-label", "data-at": along(test.scale, baseline.value), "data-baseline": baseline.name, "data-value": baseline.value, title: [says[baseline.name] ?? "", interval(baseline)].filter(Boolean).join("; ") },
        baseline.name, h("b", { class: "number", text: likewise(baseline) })),
    );
  }
  const left = leftOut ? `, ${leftOut} left out` : "";
  return h(
    "div",
    { class: `trust-line${named ? " named" : ""}`, "data-testid": "trust-figure", "data-method": method.name, "data-value": String(value), "data-low": String(low), "data-high": String(high), "data-trials": trials },
    named && h("span", { class: "whose", text: sentence(method.title), title: method.title }),
    h("span", { class: "end", "aria-hidden": "true", text: short(test.scale[0]) }),
    h("div", { class: "drawn" }, axis, labels.childElementCount > 0 && labels),
    h("span", { class: "end last", "aria-hidden": "true", text: short(test.scale[1]) }),
    h("span", { class: "figure number", text: estimate(found.figure) }),
    h("span", { class: "sure number" }, interval(found.figure), h("span", { class: "n", text: `n\u202f=\u202f${trials}${left}` })),
  );
}

const short = (value: number): string => plain(value, Number.isInteger(value) ? 0 : 2);

/** Thin lines from the ticks to their labels. */
function leaders(labels: HTMLElement[], width: number): SVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const label of labels) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const from = (Number(label.dataset.at) / 100) * width;
    const middle = label.offsetLeft + label.offsetWidth / 2;
    path.setAttribute("d", `M${from.toFixed(1)} 0L${middle.toFixed(1)} ${LEAD}`);
    svg.append(path);
  }
  return svg;
}

/** Put the labels of ticks below their ticks in the same order, in several rows where one is too short. */
export function settleTicks(root: HTMLElement): void {
  for (const labels of root.querySelectorAll<HTMLElement>(".tick-labels")) {
    const width = labels.clientWidth;
    if (!width) continue;
    const each = [...labels.querySelectorAll<HTMLElement>(".tick-label")].sort((a, b) => Number(a.dataset.at) - Number(b.dataset.at));
    const low = labels.closest(".trust-line")!.getBoundingClientRect().left - labels.getBoundingClientRect().left;
    const high = width + BEYOND;
    const needed = each.reduce((sum, label) => sum + label.offsetWidth + GAP, -GAP);
    const rows = Math.max(1, Math.ceil(needed / (high - low)));
    for (let row = 0; row < rows; row++) {
      const here = each.filter((_, n) => n % rows === row);
      const lefts = besideEachOther(here.map((label) => ({ middle: (Number(label.dataset.at) / 100) * width, width: label.offsetWidth })), GAP, low, high);
      here.forEach((label, n) => {
        label.style.left = `${lefts[n]}px`;
        label.style.top = `${row * ROW}px`;
      });
    }
    labels.style.height = `${rows * ROW}px`;
    labels.querySelector("svg")?.remove();
    labels.classList.toggle("led", rows === 1);
    if (rows === 1) labels.append(leaders(each, width));
  }
}
