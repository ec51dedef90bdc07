// The ranking: thumbnails in rank order, each with its own map.

import { h, setAttribute, setText } from "./dom";
import { plain, signed } from "./format";
import { CanvasLayer } from "./layer";
import { isDistance, rankDigits } from "./lines";
import type { Theme } from "./model";
import type { Shown } from "./scene";
import type { Item, Screen } from "./screen";

export interface StripEvents {
  focus(rank: number): void;
  follow(id: number): void; // make this image the query
  likeRegion(): void; // back to the whole image's similarity
  explainAll(): void; // however long it takes
}

interface Tile {
  element: HTMLElement;
  photo: HTMLCanvasElement;
  layer: CanvasLayer;
  rank: HTMLElement;
  score: HTMLElement;
  label: HTMLElement;
  verdict: HTMLElement;
  item: Item | null;
}

const LEAST = 76; // pixels across, of a tile; the stylesheet's gap lies between
const GAP = 9;
const PHOTO = 224; // pixels across; thumbnails are smaller than that on every screen

export class Strip {
  readonly element: HTMLElement;
  private readonly list = h("div", { class: "tiles", role: "listbox", "aria-orientation": "horizontal" });
  private readonly banner = h("div", { class: "banner", role: "note", hidden: true });
  private readonly said = h("span");
  private readonly progress = h("div", { class: "progress", role: "status", hidden: true });
  private readonly progressText = h("span");
  private readonly explainAll = h("button", { type: "button", class: "link", text: "explain all" });
  private least = LEAST;
  private tiles: Tile[] = [];
  private focused = -1;

  constructor(private readonly events: StripEvents, private readonly signal: AbortSignal) {
    const back = h("button", { type: "button", class: "link", text: "back to similarity" });
    back.addEventListener("click", () => events.likeRegion(), { signal });
    this.banner.append(this.said, back);
    this.explainAll.addEventListener("click", () => events.explainAll(), { signal });
    this.progress.append(this.progressText, this.explainAll);
    this.element = h("section", { class: "ranking", "aria-label": "Ranking" }, this.banner, this.progress, this.list);
    this.list.setAttribute("aria-label", "Ranking, best first");
    this.list.addEventListener("keydown", (event) => this.key(event), { signal });
    const observer = new ResizeObserver(() => this.arrange());
    observer.observe(this.list);
    signal.addEventListener("abort", () => observer.disconnect());
  }

  /** Put a screen's items into the tiles. */
  show(screen: Screen): void {
    const { ranked, meta } = screen;
    while (this.tiles.length > ranked.length) this.tiles.pop()!.element.remove();
    while (this.tiles.length < ranked.length) this.tiles.push(this.tile(this.tiles.length + 1));
    const ratio = ranked[0]?.picture.ratio ?? 1;
    const wide = Math.min(2, Math.max(0.72, Math.sqrt(ratio)));
    this.least = LEAST * wide;
    this.list.style.setProperty("--most", `${Math.round(136 * wide)}px`);
    this.arrange();
    const digits = rankDigits(meta.kind, ranked.map((item) => item.score ?? 0));
    ranked.forEach((item, n) => this.fill(this.tiles[n], item, meta.labelled, digits));
    this.banner.hidden = meta.rankedBy !== "region";
    if (meta.rankedBy === "region") {
      setText(
        this.said,
        "Ranked by what the selected region of the query contributes to the similarity; the number under each image is that contribution." +
          (isDistance(meta.kind) ? " The squared length of an image belongs to no region, so longer embeddings come first." : ""),
      );
    }
    this.focused = -1;
  }

  /** As few rows as tiles of a readable size need, equally long. */
  private arrange(): void {
    const count = this.tiles.length;
    const fit = Math.max(1, Math.floor((this.list.clientWidth + GAP) / (this.least + GAP)));
    const columns = Math.ceil(count / Math.max(1, Math.ceil(count / fit)));
    this.list.style.setProperty("--columns", String(Math.max(1, columns)));
  }

  draw(focus: number, theme: Theme, mapOf: (item: Item) => Shown | null): void {
    for (const [n, tile] of this.tiles.entries()) {
      const item = tile.item!;
      const shown = mapOf(item);
      tile.layer.draw(shown?.place ?? null, shown?.map ?? null, shown?.limit ?? 0, theme);
      tile.element.classList.toggle("bare", !shown);
      if (this.focused !== focus) {
        const chosen = n + 1 === focus;
        setAttribute(tile.element, "aria-selected", String(chosen));
        tile.element.tabIndex = chosen ? 0 : -1;
        if (chosen && this.list.contains(document.activeElement)) tile.element.focus({ preventScroll: true });
      }
    }
    this.focused = focus;
  }

  /** Say how far the explanations of the ranking have come, or why there are none. */
  told({ text, more }: { text: string; more: boolean }): void {
    this.progress.hidden = text === "";
    setText(this.progressText, text);
    this.explainAll.hidden = !more;
  }

  /** Mark the two images that a margin map holds against each other. */
  compare(ranks: number[]): void {
    for (const [n, tile] of this.tiles.entries()) tile.element.classList.toggle("compared", ranks.includes(n + 1));
  }

  private tile(rank: number): Tile {
    const layer = new CanvasLayer();
    const photo = h("canvas", { class: "photo", "aria-hidden": "true" });
    const parts = {
      photo,
      layer,
      rank: h("b", { text: String(rank) }),
      score: h("span", { class: "number" }),
      label: h("span", { class: "label" }),
      verdict: h("span", { class: "verdict" }),
    };
    const element = h(
      "div",
      { class: "tile", role: "option", "data-testid": "ranked-item", "data-rank": rank, tabindex: -1 },
      h("div", { class: "thumb" }, photo, layer.element),
      h("div", { class: "caption" }, parts.rank, parts.score),
      h("div", { class: "caption second" }, parts.verdict, parts.label),
    );
    element.addEventListener("click", () => this.events.focus(rank), { signal: this.signal });
    element.addEventListener("dblclick", () => this.follow(rank), { signal: this.signal });
    this.list.append(element);
    return { element, item: null, ...parts };
  }

  private fill(tile: Tile, item: Item, labelled: boolean, digits: number): void {
    const { element } = tile;
    const hit = labelled ? item.hit : null;
    const verdict = hit === null ? "" : hit ? "hit" : "miss";
    setAttribute(element, "data-id", String(item.id));
    setAttribute(element, "data-hit", hit === null ? "" : String(hit));
    const score = item.meta.region === null ? plain(item.score, digits) : signed(item.score, digits);
    setText(tile.score, score);
    setText(tile.label, item.picture.label ?? item.picture.name);
    setText(tile.verdict, hit === null ? "" : hit ? "\u2713" : "\u2715");
    tile.verdict.hidden = hit === null;
    element.title = `${item.picture.name}\n${item.picture.label ?? "no label"}${verdict && ` \u00b7 ${verdict}`}`;
    setAttribute(
      element,
      "aria-label",
      `rank ${item.rank}, ${[item.picture.label, verdict].filter(Boolean).join(", ") || item.picture.name}, ${score}`,
    );
    if (tile.item?.picture === item.picture) {
      tile.item = item;
      return;
    }
    tile.item = item;
    element.querySelector<HTMLElement>(".thumb")!.style.aspectRatio = `${item.picture.view[1]} / ${item.picture.view[0]}`;
    item.picture.bitmap.then(
      (bitmap) => {
        if (tile.item !== item) return;
        const scale = Math.min(1, PHOTO / Math.max(bitmap.width, bitmap.height));
        tile.photo.width = Math.round(bitmap.width * scale);
        tile.photo.height = Math.round(bitmap.height * scale);
        const context = tile.photo.getContext("2d")!;
        context.imageSmoothingQuality = "high";
        context.drawImage(bitmap, 0, 0, tile.photo.width, tile.photo.height);
      },
      () => element.classList.add("unreadable"),
    );
  }

  private follow(rank: number): void {
    const item = this.tiles[rank - 1]?.item;
    if (item) this.events.follow(item.id);
  }

  private key(event: KeyboardEvent): void {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const now = this.tiles.findIndex((tile) => tile.element === document.activeElement);
    const to = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: this.tiles.length - 1 }[event.key];
    if (to !== undefined && this.tiles[to]) {
      this.tiles[to].element.focus();
      this.events.focus(to + 1);
    } else if (event.key === "Enter") this.follow(now + 1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
