// The two sheets that are asked for: how far to trust the methods on the screen, and how good the ranking is.

import type { Controls } from "./controls";
import type { IndexMeta, JudgingMeta, MethodMeta, Model, ProtocolMeta, TrustMeta } from "./model";
import type { Picker } from "./picker";
import { Protocol } from "./protocol";
import { Trust } from "./trust";

export class Sheets {
  readonly elements: HTMLElement[];
  private readonly trust: Trust;
  private readonly protocol: Protocol;

  constructor(
    private readonly model: Model,
    methods: MethodMeta[],
    private readonly controls: Controls,
    private readonly picker: Picker,
    private readonly again: () => void,
    signal: AbortSignal,
  ) {
    this.trust = new Trust({
      measure: (method) => model.send({ kind: "trust", method }),
      closed: again,
    }, methods, signal);
    this.protocol = new Protocol({
      judge: (what) => model.send({ kind: "judge", what }),
      worstFirst: () => {
        this.protocol.close();
        picker.worstFirst();
      },
      closed: again,
    }, signal);
    this.elements = [this.trust.element, this.protocol.element];
  }

  toggleTrust(): void {
    this.toggle(this.trust, this.controls.trust);
  }

  toggleProtocol(): void {
    this.toggle(this.protocol, this.picker.protocol);
  }

  private toggle(sheet: Trust | Protocol, button: HTMLButtonElement): void {
    if (button.disabled) return;
    if (sheet.open) sheet.close();
    else sheet.show(button);
    this.again();
  }

  /** Close the one that is open, and say whether one was. */
  close(): boolean {
    const open = [this.trust, this.protocol].find((sheet) => sheet.open);
    open?.close();
    return open !== undefined;
  }

  /** Show what is known by now, of this query too; `value` is what the protocol says of it. */
  draw(methods: MethodMeta[], query: number, value: number | null, live: boolean): void {
    const trust = this.model.get("_trust") as TrustMeta | null;
    if (trust) {
      this.trust.draw(trust, methods, live);
      this.controls.trusted(trust.reason, this.trust.open);
    }
    const protocol = this.model.get("_protocol") as ProtocolMeta | null;
    const index = this.model.get("_index") as IndexMeta | null;
    const judging = this.model.get("_judging") as JudgingMeta | null;
    if (!protocol || !index || !judging) return;
    this.protocol.draw({ protocol, index, judging, query, value }, live);
    const none = !protocol.judgement && (index.exact || (!live && !index.recall));
    this.picker.judged(none ? protocol.reason : "", this.protocol.open);
  }
}
