// One query's screen, unpacked: everything that hovering needs, with no kernel.

import { Data } from "./data";
import type { ItemMeta, MoreMeta, PictureMeta, ScreenMeta, WhyMeta } from "./model";
import { Why } from "./why";

/** An image as its network sees it. */
export class Picture {
  readonly id: number;
  readonly name: string;
  readonly label: string | null;
  readonly view: [number, number];
  readonly bitmap: Promise<ImageBitmap>;

  constructor(meta: PictureMeta, data: Data) {
    this.id = meta.id;
    this.name = meta.name;
    this.label = meta.label;
    this.view = meta.view;
    this.bitmap = createImageBitmap(new Blob([data.bytes(meta.image)], { type: meta.mime }));
    this.bitmap.catch(() => undefined); // who draws it reports it
  }

  /** Columns per row. */
  get ratio(): number {
    return this.view[1] / this.view[0];
  }

  close(): void {
    this.bitmap.then((bitmap) => bitmap.close(), () => undefined);
  }
}

/** One ranked image, with its explanations by method. */
export class Item {
  readonly id: number;
  readonly rank: number;
  readonly hit: boolean | null;
  readonly similarity: number | null;
  readonly whys = new Map<string, Why>();

  constructor(readonly meta: ItemMeta, readonly picture: Picture) {
    this.id = meta.id;
    this.rank = meta.rank;
    this.hit = meta.hit;
    this.similarity = meta.score;
  }

  /** What ranked it. */
  get score(): number | null {
    return this.meta.region ?? this.similarity;
  }
}

export class Screen {
  readonly query: Picture;
  readonly items: Item[];
  readonly ranked: Item[];
  /** Largest magnitudes over the whole ranking, by what they are of. */
  readonly limits = new Map<string, number>();
  /** How many explanations came later. */
  arrived = 0;
  private readonly pictures = new Map<string, Picture>();

  constructor(readonly meta: ScreenMeta, buffer: DataView) {
    const data = new Data(buffer);
    const picture = (key: string) => {
      let found = this.pictures.get(key);
      if (!found) this.pictures.set(key, (found = new Picture(meta.pictures[key], data)));
      return found;
    };
    this.query = picture(meta.queryPicture);
    this.items = meta.items.map((item) => new Item(item, picture(item.picture)));
    this.ranked = this.items.filter((item) => !item.meta.extra);
    for (const [method, whys] of Object.entries(meta.whys)) this.put(method, whys, data);
  }

  /** Take explanations that came later. */
  learn(meta: MoreMeta, buffer: DataView): void {
    this.arrived += 1;
    this.put(meta.method, meta.whys, new Data(buffer));
  }

  private put(method: string, whys: WhyMeta[], data: Data): void {
    for (const why of whys) {
      const had = this.items[why.n]?.whys.get(method);
      if (had && had.hasPairs && !why.pairs && why.pairwise) continue; // what is here says more
      this.items[why.n]?.whys.set(method, new Why(why, data));
    }
  }

  item(rank: number): Item | null {
    return this.ranked[Math.min(Math.max(rank, 1), this.ranked.length) - 1] ?? null;
  }

  other(item: Item): Item | null {
    return item.meta.other === null ? null : this.items[item.meta.other];
  }

  close(): void {
    for (const picture of this.pictures.values()) picture.close();
  }
}
