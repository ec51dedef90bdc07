// Which queries the picker goes through: filter, order, search. No page in here.

import type { AuditMeta, GalleryMeta } from "./model";

export type Filter = "all" | "misses";
export type Sort = "margin" | "similarity" | "id";

export class Queries {
  readonly ids: number[];
  private readonly at = new Map<number, number>();
  private readonly low: string[];
  private audit = new Map<number, { margin: number; similarity: number }>();
  audited = false;

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

  /** The ids that a filter leaves, in order. Queries that hit have no margin: they follow, by id. */
  list(filter: Filter, label: string, sort: Sort): number[] {
    const kept = this.ids.filter(
      (id) => (filter === "all" || this.audit.has(id)) && (label === "" || this.label(id) === label),
    );
    if (sort === "id") return kept.sort((a, b) => a - b);
    const key = (id: number) => this.audit.get(id)?.[sort] ?? -Infinity;
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
