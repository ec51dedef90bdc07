// The host of an exported page: a model with no kernel behind it.

import type { Model, ScreenMeta } from "./model";

export interface PagePayload {
  traits: Record<string, unknown>;
  pictures: ScreenMeta["pictures"];
  screens: Record<string, Omit<ScreenMeta, "pictures">>;
}

export class PageModel implements Model {
  private readonly values = new Map<string, unknown>();
  private readonly listeners = new Map<string, Set<(...args: any[]) => void>>();

  constructor(
    private readonly payload: PagePayload,
    private readonly data: DataView,
    plotly: Uint8Array,
  ) {
    for (const [name, value] of Object.entries(payload.traits)) this.values.set(name, value);
    this.values.set("_plotly", new DataView(plotly.buffer, plotly.byteOffset, plotly.byteLength));
    this.values.set("_screen", this.screenOf(this.get("query")));
  }

  get(name: string): any {
    return this.values.get(name) ?? null;
  }

  set(name: string, value: unknown): void {
    if (JSON.stringify(this.get(name)) === JSON.stringify(value)) return;
    if (name === "query") {
      const screen = this.screenOf(value as number);
      if (!screen) return;
      this.put("query", value);
      for (const [reset, to] of [["focus", 1], ["pin", null], ["region", null]] as const) this.put(reset, to);
      this.put("_screen", screen);
    } else this.put(name, value);
  }

  private put(name: string, value: unknown): void {
    if (this.values.get(name) === value) return;
    this.values.set(name, value);
    for (const listener of this.listeners.get(`change:${name}`) ?? []) listener();
  }

  private screenOf(query: number): { meta: ScreenMeta; data: DataView } | null {
    const screen = this.payload.screens[query];
    return screen ? { meta: { ...screen, pictures: this.payload.pictures }, data: this.data } : null;
  }

  save_changes(): void {}

  send(): void {}

  on(name: string, callback: (...args: any[]) => void): void {
    let known = this.listeners.get(name);
    if (!known) this.listeners.set(name, (known = new Set()));
    known.add(callback);
  }

  off(name?: string | null, callback?: ((...args: any[]) => void) | null): void {
    for (const [known, callbacks] of this.listeners) {
      if (name && known !== name) continue;
      if (callback) callbacks.delete(callback);
      else callbacks.clear();
    }
  }
}
