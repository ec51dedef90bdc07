// Builds the two files that the Python package carries:
//   explorer.js   the Explorer's page, one ES module with its stylesheet inside
//   plotly.js.gz  a plotly.js with the five traces the product draws, one copy per page
// Same sources, same bytes: nothing here depends on time, place or machine.
import { build, context } from "esbuild";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync, constants } from "node:zlib";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "..", "dmlviz", "widgets", "static");
mkdirSync(out, { recursive: true });

const explorer = {
  entryPoints: [join(here, "src", "explorer.ts")],
  outfile: join(out, "explorer.js"),
  bundle: true,
  format: "esm",
  target: "es2022",
  charset: "ascii",
  legalComments: "none",
  loader: { ".css": "text" },
  logLevel: "info",
};

async function buildExplorer(minify = true) {
  await build({ ...explorer, minify });
  const bytes = readFileSync(explorer.outfile).length;
  if (bytes > 150_000) throw new Error(`explorer.js is ${bytes} bytes; the limit is 150000`);
  return bytes;
}

async function buildPlotly() {
  const scratch = join(tmpdir(), `dmlviz-plotly-${process.pid}`);
  const outfile = join(scratch, "plotly.js");
  try {
    await build({
      stdin: { contents: readFileSync(join(here, "src", "plotly-bundle.js"), "utf8"), resolveDir: here },
      outfile,
      bundle: true,
      minify: true,
      format: "iife",
      target: "es2020",
      charset: "ascii",
      legalComments: "none",
      define: { global: "globalThis", "define.amd": "false" },
      alias: { regl: "@plotly/regl", stream: "stream-browserify" },
      logLevel: "error",
    });
    const text = readFileSync(outfile);
    const notice = Buffer.from("/* plotly.js 4.1.1, Copyright (c) Plotly, Inc., MIT License */\n");
    const packed = gzipSync(Buffer.concat([notice, text]), { level: constants.Z_BEST_COMPRESSION });
    packed.writeUInt32LE(0, 4); // no time stamp
    packed[9] = 255; // no operating system
    writeFileSync(join(out, "plotly.js.gz"), packed);
    return [text.length, packed.length];
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

const flags = new Set(process.argv.slice(2));
if (flags.has("--watch")) {
  const watcher = await context({ ...explorer, sourcemap: "inline" });
  await watcher.watch();
} else {
  const bytes = await buildExplorer();
  console.log(`explorer.js   ${(bytes / 1e3).toFixed(0)} kB`);
  if (!flags.has("--explorer")) {
    const [plain, packed] = await buildPlotly();
    console.log(`plotly.js.gz  ${(packed / 1e3).toFixed(0)} kB (${(plain / 1e6).toFixed(2)} MB unpacked)`);
  }
}
