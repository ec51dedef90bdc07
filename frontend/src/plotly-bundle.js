// plotly.js with the traces that dmlviz draws and nothing else.
import Plotly from "plotly.js/lib/core";
import bar from "plotly.js/lib/bar";
import heatmap from "plotly.js/lib/heatmap";
import image from "plotly.js/lib/image";
import scattergl from "plotly.js/lib/scattergl";

Plotly.register([bar, heatmap, image, scattergl]); // core brings scatter
globalThis[Symbol.for("dmlviz.plotly")] = Plotly;
