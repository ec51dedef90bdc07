// Which explanations the page still lacks, and asking the kernel for them: one wish at a time, the focused pair first.

import type { MethodMeta, MoreMeta } from "./model";
import type { Item, Screen } from "./screen";

const UNASKED = 1.5; // seconds per pair up to which the rest of a ranking is explained unasked
const LOST = 120_000; // milliseconds after which an answer is given up

export interface Wish {
  kind: "explain";
  query: number;
  method: string;
  items: number[];
  margins: boolean;
}

export class Wishes {
  private out: { wish: Wish; since: number } | null = null;
  private readonly failures = new Map<string, string>();
  private readonly paces = new Map<string, number>();
  private readonly eager = new Set<string>();

  constructor(private readonly send: (wish: Wish) => void) {}

  /** Ask for what is most urgent, unless an answer is under way. */
  next(screen: Screen, focus: Item, methods: MethodMeta[], margins: boolean): void {
    if (this.out && performance.now() - this.out.since < LOST) return;
    const query = screen.meta.query;
    const at = screen.items.indexOf(focus);
    for (const method of methods) {
      const rest = method === methods[0] ? this.rest(screen, method.name, at) : [];
      const wants = margins && method.linear && focus.meta.other !== null;
      const why = focus.whys.get(method.name);
      const lacks = !why || (why.pairwise && !why.hasPairs) || (wants && !why.margin);
      const items = lacks && !this.failures.has(key(query, method.name, at)) ? [at, ...rest] : rest;
      if (!items.length) continue;
      const wish: Wish = { kind: "explain", query, method: method.name, items, margins: wants && lacks };
      this.out = { wish, since: performance.now() };
      this.send(wish);
      return;
    }
  }

  /** Ranked items without an explanation; none where each takes long, unless they were asked for. */
  private rest(screen: Screen, method: string, focus: number): number[] {
    if ((this.paces.get(method) ?? 0) > UNASKED && !this.eager.has(method)) return [];
    return screen.ranked
      .map((item, n) => (item.whys.has(method) || this.failures.has(key(screen.meta.query, method, n)) ? -1 : n))
      .filter((n) => n >= 0 && n !== focus);
  }

  arrived(more: MoreMeta): void {
    if (this.out?.wish.query === more.query && this.out.wish.method === more.method) this.out = null;
    if (more.seconds !== null) this.paces.set(more.method, more.seconds);
    if (more.failed && more.item !== undefined) this.failures.set(key(more.query, more.method, more.item), more.failed);
  }

  /** The method that an answer is awaited from. */
  get busy(): string {
    return this.out?.wish.method ?? "";
  }

  /** Another ranking is on the screen: what was asked for the old one is of no use. */
  forget(): void {
    this.out = null;
    this.failures.clear();
  }

  /** Explain the whole ranking, however long it takes. */
  all(method: string): void {
    this.eager.add(method);
  }

  failed(screen: Screen, method: string, item: Item): string {
    return this.failures.get(key(screen.meta.query, method, screen.items.indexOf(item))) ?? "";
  }

  /** Seconds per pair where the rest of the ranking waits to be asked for; 0 where it comes by itself. */
  holdsBack(method: string): number {
    const pace = this.paces.get(method) ?? 0;
    return pace > UNASKED && !this.eager.has(method) ? pace : 0;
  }
}

const key = (query: number, method: string, n: number) => `${query} ${n} ${method}`;
