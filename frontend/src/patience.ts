// What the page says while it waits: it dims the old screen, and speaks up if no answer comes.

import { h, setText } from "./dom";

const AT_ONCE = 120; // milliseconds that an answer may take before the screen is dimmed
const PATIENCE = 15_000; // milliseconds until the page says that the kernel does not answer

export class Patience {
  readonly message = h("div", { class: "error", role: "alert", hidden: true });
  private timer = 0;

  constructor(private readonly root: () => HTMLElement, signal: AbortSignal) {
    signal.addEventListener("abort", () => clearTimeout(this.timer));
  }

  /** Begin to wait; `words` are asked for when the wait has grown long. */
  wait(words: () => string): void {
    this.arrived();
    this.timer = window.setTimeout(() => {
      this.root().classList.add("waiting");
      this.timer = window.setTimeout(() => {
        this.arrived();
        this.say(words());
      }, PATIENCE);
    }, AT_ONCE);
  }

  arrived(): void {
    clearTimeout(this.timer);
    this.root().classList.remove("waiting");
  }

  say(text: string): void {
    this.message.hidden = text === "";
    setText(this.message, text);
  }
}
