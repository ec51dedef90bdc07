// Light or dark, as the host is: JupyterLab, VS Code, any page with a background, or the system.

import type { Theme } from "./model";

export function hostTheme(element: Element): Theme {
  const body = document.body;
  const jupyter = body.dataset.jpThemeLight;
  if (jupyter !== undefined) return jupyter === "false" ? "dark" : "light";
  if (body.classList.contains("vscode-dark") || body.classList.contains("vscode-high-contrast")) {
    return body.classList.contains("vscode-high-contrast-light") ? "light" : "dark";
  }
  if (body.classList.contains("vscode-light")) return "light";
  for (let at: Element | null = element.parentElement; at; at = at.parentElement) {
    const bright = luminance(getComputedStyle(at).backgroundColor);
    if (bright !== null) return bright < 0.5 ? "dark" : "light";
  }
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

/** Tell when the host may have changed its mind. */
export function watchTheme(changed: () => void, signal: AbortSignal): void {
  const observer = new MutationObserver(changed);
  const attributes = { attributes: true, attributeFilter: ["class", "style", "data-jp-theme-light", "data-theme"] };
  observer.observe(document.body, attributes);
  observer.observe(document.documentElement, attributes);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed, { signal });
  signal.addEventListener("abort", () => observer.disconnect());
}

function luminance(colour: string): number | null {
  const parts = colour.match(/[\d.]+/g)?.map(Number);
  if (!parts || parts.length < 3 || (parts.length > 3 && parts[3] < 0.5)) return null;
  return (0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]) / 255;
}
