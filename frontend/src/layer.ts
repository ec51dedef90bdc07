// A signed map over a picture, drawn by Plotly; by canvas until plotly.js is there, or where it cannot come.

import { colourscale, lookup, paint } from "./colour";
import { h } from "./dom";
import { Smooth, type Place } from "./maps";
import type { Theme } from "./model";
import type { Plotly } from "./plotly";

const samplesFor = (place: Place, least: number) => {
  const cells = Math.max(...place.grid);
  return Math.min(112, cells * Math.max(2, Math.ceil(least / cells)));
};

/** A map on canvas: cheap enough for every thumbnail at every move of the pointer. */
export class CanvasLayer {
  readonly element = h("canvas", { class: "map", "aria-hidden": "true" });
  private smooth: Smooth | null = null;
  private image: ImageData | null = null;

  draw(place: Place | null, map: Float32Array | null, limit: number, theme: Theme): void {
    const context = this.element.getContext("2d")!;
    if (!map || !place) {
      context.clearRect(0, 0, this.element.width, this.element.height);
      return;
    }
    if (!this.smooth || !samePlace(this.smooth.place, place)) {
      this.smooth = new Smooth(place, samplesFor(place, 40));
      this.element.width = this.smooth.cols;
      this.element.height = this.smooth.rows;
      this.image = context.createImageData(this.smooth.cols, this.smooth.rows);
    }
    this.smooth.draw(map);
    paint(this.smooth.out, limit, table(theme), this.image!);
    context.putImageData(this.image!, 0, 0);
  }
}

/** A map in Plotly's axes, whose x is the view's column and whose y is its row. */
export class PlotlyLayer {
  readonly element = h("div", { class: "map plot", "aria-hidden": "true" });
  private smooth: Smooth | null = null;
  private shown = { width: 0, height: 0, theme: "" as Theme | "", limit: 0 };
  private ready = false;
  private readonly canvas = document.createElement("canvas");
  private pixels: ImageData | null = null;

  constructor(private readonly plotly: Plotly) {}

  draw(place: Place | null, map: Float32Array | null, limit: number, theme: Theme, width: number, height: number): void {
    this.element.style.visibility = map && place ? "" : "hidden";
    if (!map || !place || width < 2 || height < 2) return;
    const moved = !this.smooth || !samePlace(this.smooth.place, place);
    if (moved) this.smooth = new Smooth(place, samplesFor(place, 56));
    const smooth = this.smooth!;
    const z = smooth.draw(map);
    const range = limit > 0 ? limit : 1;
    if (!this.ready || moved || theme !== this.shown.theme) {
      const [rows, cols] = place.view;
      const trace = {
        type: "heatmap", z, zmin: -range, zmax: range, zsmooth: "fast", showscale: false, hoverinfo: "skip",
        x0: -0.5 + cols / smooth.cols / 2, dx: cols / smooth.cols,
        y0: -0.5 + rows / smooth.rows / 2, dy: rows / smooth.rows,
        colorscale: colourscale(theme),
      };
      const axis = { visible: false, fixedrange: true };
      const layout = {
        width, height, margin: { l: 0, r: 0, t: 0, b: 0 }, dragmode: false, hovermode: false, showlegend: false,
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        xaxis: { ...axis, range: [-0.5, cols - 0.5] }, yaxis: { ...axis, range: [rows - 0.5, -0.5] },
      };
      const draw = this.ready ? this.plotly.react : this.plotly.newPlot;
      void draw(this.element, [trace], layout, { staticPlot: true, displayModeBar: false, responsive: false });
      this.ready = true;
    } else {
      const { shown } = this;
      const resized = width !== shown.width || height !== shown.height;
      if (resized) void this.plotly.relayout(this.element, { width, height });
      if (resized || !this.repaint(range, theme)) {
        void this.plotly.restyle(this.element, { z: [z], zmin: -range, zmax: range }, [0]);
      }
    }
    this.shown = { width, height, theme, limit: range };
  }

  /**
   * Swap the picture inside Plotly's own heatmap: a tenth of the time of a restyle.
   * The trace's z are the smooth map's own lines, so they already hold the new values.
   */
  private repaint(range: number, theme: Theme): boolean {
    const image = this.element.querySelector(".heatmaplayer image");
    const trace = (this.element as any).data?.[0];
    if (!image || !trace) return false;
    const smooth = this.smooth!;
    if (this.canvas.width !== smooth.cols || this.canvas.height !== smooth.rows) {
      this.canvas.width = smooth.cols;
      this.canvas.height = smooth.rows;
    }
    const context = this.canvas.getContext("2d", { willReadFrequently: true })!;
    if (this.pixels?.width !== smooth.cols || this.pixels.height !== smooth.rows) {
      this.pixels = context.createImageData(smooth.cols, smooth.rows);
    }
    paint(smooth.out, range, table(theme), this.pixels);
    context.putImageData(this.pixels, 0, 0);
    Object.assign(trace, { zmin: -range, zmax: range });
    const name = image.hasAttribute("href") ? "href" : "xlink:href";
    image.setAttribute(name, this.canvas.toDataURL());
    return true;
  }

  close(): void {
    this.plotly.purge(this.element);
  }
}

const tables: Partial<Record<Theme, Uint32Array>> = {};
const table = (theme: Theme) => (tables[theme] ??= lookup(theme));

function samePlace(a: Place, b: Place): boolean {
  const same = (x: number[], y: number[]) => x[0] === y[0] && x[1] === y[1];
  return same(a.view, b.view) && same(a.grid, b.grid) && same(a.first, b.first) && same(a.stride, b.stride);
}
