// The arithmetic of the page against plain loops and answers worked by hand.
// @ts-nocheck Node's own modules carry no types here
import assert from "node:assert/strict";
import { test } from "node:test";
import { digitsFor, percent, plain, signed, tiny } from "../src/format";
import { Smooth, cellOfPixel, cellsIn, columnOf, mixAt, mixedLength, rowOf } from "../src/maps";
import { Queries } from "../src/queries";
import { balance } from "../src/data";
import { codesSay, nameOfKind, rankDigits, restOf, scoreDigits } from "../src/lines";
import { binOf, countsOf, sure } from "../src/protocol";
import { along, besideEachOther, estimate, interval } from "../src/trust-line";

const place = { view: [48, 64], grid: [6, 8], first: [3.5, 3.5], stride: [8, 8] };
const near = (a, b, by = 1e-6) => assert.ok(Math.abs(a - b) <= by, `${a} is not ${b}`);

test("numbers carry a true minus, and no sign where they round to zero", () => {
  assert.equal(signed(-1.4194, 3), "\u22121.419");
  assert.equal(signed(0.0004, 3), "0.000");
  assert.equal(plain(-0.0004, 3), "0.000");
  assert.equal(plain(null), "undefined");
  assert.equal(percent(0.1964), "19.6\u202f%");
  assert.equal(tiny(-6.1e-8), "6e\u22128");
  assert.equal(digitsFor(0.0496), 4);
});

test("a small distance keeps its figures beside the large sums that it is the difference of", () => {
  assert.equal(scoreDigits("dot", 250, 0.02), 1);
  assert.equal(scoreDigits("l2", 250, -0.0213), 4);
  assert.equal(scoreDigits("l2", 250, -31.4), 1);
  assert.equal(scoreDigits("cosine", 250, -0.02), 3);
  assert.equal(rankDigits("l2", [-0.021, -0.4, -31]), 3);
  assert.equal(rankDigits("l2", [0, -0.4, -31]), 2);
  assert.equal(rankDigits("dot", [0.021, 31]), 2);
  assert.equal(rankDigits("cosine", [0.05, 0.01]), 4);
  assert.equal(nameOfKind("l2"), "minus squared distance");
  assert.equal(restOf("l2"), "squared lengths and offsets");
  assert.equal(restOf("cosine"), "offsets");
});

test("pixels fall on cells as the geometry says, and stay on the map", () => {
  assert.deepEqual(cellOfPixel(place, 3.5, 11.5), [0, 1]);
  assert.deepEqual(cellOfPixel(place, -0.5, 63.5), [-0.5, 7.5]);
});

test("between cells four are mixed, beyond the outer centres the edge is repeated", () => {
  const { cells, weights } = mixAt([2, 2], [0.25, 0.5]);
  assert.deepEqual(cells, [0, 1, 2, 3]);
  assert.deepEqual(weights, [0.375, 0.375, 0.125, 0.125]);
  const edge = mixAt([2, 2], [-0.5, 1.5]);
  near(edge.cells.reduce((sum, cell, n) => sum + (cell === 1 ? edge.weights[n] : 0), 0), 1);
});

test("rows and columns of a pair tensor", () => {
  const pairs = Float32Array.from([1, 2, 3, 4, 5, 6]); // two cells by three
  const mix = { cells: [0, 1], weights: [0.5, 0.5] };
  assert.deepEqual([...rowOf(pairs, 3, mix, new Float32Array(3))], [2.5, 3.5, 4.5]);
  assert.deepEqual([...columnOf(pairs, 3, { cells: [0, 2], weights: [1, 1] }, new Float32Array(2))], [4, 10]);
});

test("a region takes the cells whose centres it holds, or the nearest", () => {
  assert.deepEqual(cellsIn(place, ["query", 0, 0, 12, 12]).cells, [0, 1, 8, 9]);
  assert.deepEqual(cellsIn(place, ["query", 13, 21, 15, 23]).cells, [10]);
});

test("the length of a mix follows from neighbouring products", () => {
  const x = [[3, 0], [0, 4], [1, 1], [2, -1]]; // two by two cells
  const dot = (a, b) => x[a][0] * x[b][0] + x[a][1] * x[b][1];
  const gram = Float32Array.from([
    dot(0, 0), dot(1, 1), dot(2, 2), dot(3, 3), dot(0, 1), 0, dot(2, 3), 0,
    dot(0, 2), dot(1, 3), 0, 0, dot(0, 3), 0, 0, 0, 0, dot(1, 2), 0, 0,
  ]);
  const mix = mixAt([2, 2], [0.3, 0.6]);
  const sum = [0, 1].map((d) => mix.weights.reduce((total, weight, n) => total + weight * x[mix.cells[n]][d], 0));
  near(mixedLength(gram, [2, 2], mix), Math.hypot(...sum), 1e-6);
});

test("a smooth map passes through its cells and never beyond its neighbours", () => {
  const map = Float32Array.from({ length: 48 }, (_, n) => Math.sin(7 * n));
  const smooth = new Smooth({ ...place, view: [48, 64] }, 64);
  smooth.draw(map);
  assert.ok(Math.max(...smooth.out) <= Math.max(...map) + 1e-6);
  assert.ok(Math.min(...smooth.out) >= Math.min(...map) - 1e-6);
  const fine = new Smooth({ view: [6, 8], grid: [6, 8], first: [0, 0], stride: [1, 1] }, 8);
  fine.draw(map);
  near(fine.lines[0][3], map[3]);
});

test("balance makes rows and columns sum to what they should", () => {
  const tensor = Float32Array.from([1, 2, 3, 4, 5, 6]);
  balance(tensor, Float32Array.from([7, 14]), Float32Array.from([5, 7, 9]));
  near(tensor[0] + tensor[1] + tensor[2], 7, 1e-5);
  near(tensor[1] + tensor[4], 7, 1e-5);
});

test("figures carry as many digits as their intervals bear", () => {
  assert.equal(estimate({ value: 0.8649, low: 0.81, high: 0.92 }), "0.86");
  assert.equal(estimate({ value: 0.8649, low: 0.86, high: 0.87 }), "0.865");
  assert.equal(estimate({ value: 3.1e-8, low: 2.3e-8, high: 4.4e-8 }), "3e\u22128");
  assert.equal(estimate({ value: -0.12, low: -0.2, high: 0 }), "\u22120.12");
  assert.equal(estimate({ value: null, low: null, high: null }), "undefined");
  assert.equal(interval({ value: 0.004, low: -0.04, high: 0.004 }), "\u22120.04 to 0.004");
  assert.equal(interval({ value: null, low: null, high: null }), "no interval");
  assert.deepEqual([-1, 0, 1, 7].map((value) => along([-1, 1], value)), [0, 50, 100, 100]);
});

test("labels keep their order, do not touch, and stay as near as they can", () => {
  const label = (middle, width = 20) => ({ middle, width });
  assert.deepEqual(besideEachOther([label(30), label(90)], 10, 0, 200), [20, 80]); // room enough
  assert.deepEqual(besideEachOther([label(50), label(50)], 10, 0, 200), [25, 55]); // apart from the middle
  assert.deepEqual(besideEachOther([label(0), label(2)], 10, -5, 200), [-5, 25]); // not beyond the left end
  assert.deepEqual(besideEachOther([label(150), label(200)], 10, 0, 200), [140, 180]);
  assert.deepEqual(besideEachOther([label(190), label(200)], 10, 0, 200), [150, 180]); // nor beyond the right one
  for (let seed = 1; seed < 40; seed++) {
    const all = Array.from({ length: 6 }, (_, n) => label(((seed * 37 * (n + 1) * (n + 3)) % 97) * 3, 15 + ((seed * n * 7) % 30))).sort((a, b) => a.middle - b.middle);
    const lefts = besideEachOther(all, 8, -20, 330);
    assert.ok(lefts[0] >= -20 - 1e-9 && lefts[5] + all[5].width <= 330 + 1e-9);
    for (let n = 1; n < 6; n++) assert.ok(lefts[n] - lefts[n - 1] - all[n - 1].width >= 8 - 1e-9);
  }
});

test("queries are filtered, sorted and found", () => {
  const queries = new Queries({
    ids: null, names: ["a/x.png", "a/y.png", "b/x.png"], classes: ["a", "b"], labels: [0, 0, 1], methods: [], kind: "cosine", start: "all",
  });
  queries.learn({ ids: [2, 0], margins: [0.3, 0.1], similarities: [0.5, 0.9] });
  assert.deepEqual(queries.list("misses", "", "margin"), [2, 0]);
  assert.deepEqual(queries.list("misses", "", "similarity"), [0, 2]);
  assert.deepEqual(queries.list("all", "a", "id"), [0, 1]);
  assert.deepEqual(queries.list("all", "", "margin"), [2, 0, 1]);
  assert.deepEqual(queries.list("all", "", "protocol"), [0, 1, 2]);
  const judgement = { name: "map", sort: { name: "average precision", highIsWorse: false }, values: [1, null, 0.4] };
  queries.judge(judgement as any);
  assert.deepEqual(queries.list("all", "", "protocol"), [2, 0, 1]); // without a value: last
  assert.deepEqual(queries.list("short", "", "protocol"), [2]);
  assert.deepEqual([queries.short, queries.value(2), queries.value(1)], [1, 0.4, null]);
  queries.judge({ ...judgement, sort: { name: "rank", highIsWorse: true }, values: [7, 1, 30] } as any);
  assert.deepEqual(queries.list("all", "", "protocol"), [2, 0, 1]);
  assert.deepEqual(queries.list("short", "", "id"), [0, 2]);
  queries.judge({ ...judgement, name: "" } as any);
  assert.equal(queries.short, 0); // the gallery's own measure has no filter of its own
  assert.deepEqual(queries.search("x b"), [2]);
  assert.deepEqual(queries.search("1")[0], 1);
});

test("a value falls into its bin, the last upper edge into the last one", () => {
  const edges = [0, 0.25, 0.5, 0.75, 1];
  assert.deepEqual([0, 0.2, 0.25, 0.74, 0.75, 1].map((value) => binOf(edges, value)), [0, 0, 1, 2, 3, 3]);
  assert.deepEqual([1, 2, 3, 4, 8].map((value) => binOf([1, 2, 4, 8], value)), [0, 1, 1, 2, 2]);
});

test("which queries the figures stand for, in words", () => {
  assert.equal(countsOf({ valid: 12, dropped: 0, tied: null }, 12), "All 12 queries were evaluated.");
  assert.equal(
    countsOf({ valid: 10, dropped: 1, tied: 2 }, 11),
    "10 of 11 queries were evaluated; 1 was dropped, with nothing to find or nothing to ask by. 2 are tied: a wrong image has exactly the score of a right one, so their order is chance.",
  );
});

test("a recall comes with its interval, unless nothing was missed", () => {
  const recall = { value: 0.96, low: 0.94, high: 0.98, queries: 100, k: 10, text: "" };
  assert.equal(sure(recall), "95\u202f% interval 0.94 to 0.98");
  assert.match(sure({ ...recall, value: 1, low: 1, high: 1 }), /^none was missed/);
});

test("the gap of short codes has a sign, however small it is", () => {
  assert.equal(codesSay(0.731, 0.735, 3), "the index\u2019s own codes say 0.731 (gap \u22120.004)");
  assert.equal(codesSay(0.50002, 0.5, 3), "the index\u2019s own codes say 0.500 (gap +2e\u22125)");
});
