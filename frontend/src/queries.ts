// Which queries the picker goes through: filter, order, search. No page in here.

import type { AuditMeta, GalleryMeta, JudgementMeta } from "./model";

export type Filter = "all" | "misses" | "short";
export type Sort = "margin" | "similarity" | "protocol" | "id";

export class Queries {
  readonly ids: number[];
  private readonly at = new Map<number, number>();
  private readonly low: string[];
  private audit = new Map<number, { margin: number; similarity: number }>();
  audited = false;
  judgement: JudgementMeta | null = null;

  constructor(readonly gallery: GalleryMeta) {
    this.ids = gallery.ids ?? gallery.names.map((_, n) => n);
    this.ids.forEach((id, n) => this.at.set(id, n));
    this.low = gallery.names.map((name, n) => `${this.ids[n]} ${name} ${this.labelAt(n) ?? ""}`.toLowerCase());
  }

  learn(audit: AuditMeta | null): void {
    this.audited = audit !== null;
    this.audit = new Map(
      audit?.ids.map((id, n) => [id, { margin: audit.margins[n], similarity: audit.similarities[n] }]),
    );
  }

  /** Take what a protocol says of each query. */
  judge(judgement: JudgementMeta | null): void {
    this.judgement = judgement;
  }

  /** The protocol's value of a query; null where it was not evaluated. */
  value(id: number): number | null {
    return this.judgement?.values[this.at.get(id) ?? -1] ?? null;
  }

  /** Whether a query falls short of the best value, 1. */
  isShort(id: number): boolean {
    const value = this.value(id);
    return value !== null && (this.judgement?.sort.highIsWorse ? value > 1 : value < 1);
  }

  /** How many fall short, where a protocol was chosen. */
  get short(): number {
    return this.judgement?.name ? this.ids.filter((id) => this.isShort(id)).length : 0;
  }

  get labelled(): boolean {
    return this.gallery.labels !== null;
  }

  get misses(): number {
    return this.audit.size;
  }

  has(id: number): boolean {
    return this.at.has(id);
  }

  name(id: number): string {
    return this.gallery.names[this.at.get(id) ?? -1] ?? "";
  }

  label(id: number): string | null {
    return this.labelAt(this.at.get(id) ?? -1);
  }

  isMiss(id: number): boolean {
    return this.audit.has(id);
  }

  private labelAt(n: number): string | null {
    const label = this.gallery.labels?.[n] ?? -1;
    return label < 0 ? null : this.gallery.classes[label];
  }

  /** The ids that a filter leaves, in order. Queries that hit have no margin, others no value: they follow, by id. */
  list(filter: Filter, label: string, sort: Sort): number[] {
    const kept = this.ids.filter(
      (id) => (filter === "all" || (filter === "short" ? this.isShort(id) : this.audit.has(id))) && (label === "" || this.label(id) === label),
    );
    if (sort === "id") return kept.sort((a, b) => a - b);
    const sign = this.judgement?.sort.highIsWorse ? 1 : -1;
    const key = (id: number) => {
      if (sort !== "protocol") return this.audit.get(id)?.[sort] ?? -Infinity;
      const value = this.value(id);
      return value === null ? -Infinity : sign * value;
    };
    return kept.sort((a, b) => key(b) - key(a) || a - b);
  }

  /** Ids whose number, name or label matches every word; the exact id first. */
  search(text: string, most = 8): number[] {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length === 0) return [];
    const found: number[] = [];
    const exact = /^\d+$/.test(words[0]) && words.length === 1 ? Number(words[0]) : -1;
    if (this.at.has(exact)) found.push(exact);
    for (let n = 0; n < this.ids.length && found.length < most; n++) {
      if (this.ids[n] !== exact && words.every((word) => this.low[n].includes(word))) found.push(this.ids[n]);
    }
    return found;
  }
}
