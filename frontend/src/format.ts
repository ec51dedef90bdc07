// Numbers as people read them: true minus, a sign where a number is a share, figures that line up.

const MINUS = "\u2212";

export function plain(value: number | null, digits = 3): string {
  if (value === null || !Number.isFinite(value)) return "undefined";
  const text = Math.abs(value).toFixed(digits);
  return value < 0 && Number(text) !== 0 ? MINUS + text : text;
}

export function signed(value: number | null, digits = 3): string {
  if (value === null || !Number.isFinite(value)) return "undefined";
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return (value < 0 ? MINUS : "+") + text;
}

/** Digits behind the point so that a number of this size shows `figures` of them. */
export function digitsFor(size: number, figures = 3, least = 0, most = 7): number {
  if (!Number.isFinite(size) || size <= 0) return least;
  return Math.min(most, Math.max(least, figures - 1 - Math.floor(Math.log10(size))));
}

export function percent(value: number): string {
  if (!Number.isFinite(value)) return "undefined";
  return `${plain(100 * value, Math.abs(value) < 0.1 ? 2 : 1)}\u202f%`;
}

/** A rounding error: one figure and its power of ten, "6e\u22128". */
export function tiny(value: number | null): string {
  if (value === null || !Number.isFinite(value)) return "undefined";
  if (value === 0) return "0";
  const [figure, power] = Math.abs(value).toExponential(0).split("e");
  return `${figure}e${power.replace("-", MINUS).replace("+", "")}`;
}

export function count(value: number): string {
  return value.toLocaleString("en-GB").replace(/,/g, "\u202f");
}
