// The keys that work anywhere inside an Explorer; help.ts lists them for people.
// They are heard on its own root only, so that the notebook keeps its keys.

export interface KeyActs {
  get(name: string): any;
  put(values: Record<string, unknown>): void;
  go(by: number): void; // to the previous or next query
  random(): void;
  search(): void;
  ranks(): number;
  can(mode: string): boolean;
  method(): void; // the next one
  compare(): void; // a second one beside it, and back
  rankByRegion(): void;
  trust(): void; // its figures, and back
  protocol(): void; // how good the ranking is, and back
  help(): void;
  escape(): void;
}

export function onKeys(root: HTMLElement, acts: KeyActs, signal: AbortSignal): void {
  const { get, put } = acts;
  const flip = (name: string, one: string, two: string) => put({ [name]: get(name) === one ? two : one });
  const opacity = (by: number) => put({ opacity: Math.round(20 * Math.min(1, Math.max(0, get("opacity") + by))) / 20 });
  const focus = (by: number) => put({ focus: Math.min(acts.ranks(), Math.max(1, get("focus") + by)) });
  const anywhere: Record<string, () => void> = {
    "[": () => acts.go(-1),
    "]": () => acts.go(1),
    r: () => acts.random(),
    "/": () => acts.search(),
    "1": () => put({ mode: "overall" }),
    "2": () => acts.can("point") && put({ mode: "point" }),
    "3": () => acts.can("margin") && put({ mode: "margin" }),
    m: () => acts.method(),
    c: () => acts.compare(),
    l: () => flip("reading", "contribution", "likeness"),
    s: () => flip("scale", "pair", "ranking"),
    "-": () => opacity(-0.1),
    "=": () => opacity(0.1),
    "+": () => opacity(0.1),
    g: () => acts.rankByRegion(),
    o: () => root.classList.add("untouched"),
    t: () => acts.trust(),
    h: () => acts.protocol(),
    "?": () => acts.help(),
    Escape: () => acts.escape(),
  };
  const outsideFields: Record<string, () => void> = { ArrowRight: () => focus(1), ArrowLeft: () => focus(-1) };

  root.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const at = event.target as HTMLElement;
    if (at instanceof HTMLInputElement && at.type === "text") return;
    const act = anywhere[event.key] ?? (at.matches("select, input") ? undefined : outsideFields[event.key]);
    if (!act) return;
    act();
    event.preventDefault();
    event.stopPropagation();
  }, { signal });
  root.addEventListener("keyup", (event) => event.key === "o" && root.classList.remove("untouched"), { signal });
  root.addEventListener("focusout", () => root.classList.remove("untouched"), { signal });
}
