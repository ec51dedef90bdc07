"""Run by .ci/run inside a clean environment that holds the installed wheel and nothing of this checkout.

Reads every asset that must travel in the wheel and walks the first path: the demo page from the command line.
"""

import gzip
import json
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import dmlviz
from dmlviz.cli.notebooks import NOTEBOOKS

package = Path(dmlviz.__file__).parent
checkout = Path(__file__).resolve().parents[1]
if checkout in package.resolve().parents and "site-packages" not in package.parts:
    sys.exit(f"expected the installed wheel, got the checkout at {package}")

if version("dmlviz") != dmlviz.__version__:
    sys.exit(f"the wheel says {version('dmlviz')}, the package {dmlviz.__version__}")

module = (package / "widgets/static/explorer.js").read_text(encoding="utf-8")
if not 10_000 < len(module) < 150_000 or "export" not in module:
    sys.exit(f"explorer.js is no built module: {len(module)} characters")
if b"Plotly" not in gzip.decompress((package / "widgets/static/plotly.js.gz").read_bytes()):
    sys.exit("plotly.js.gz does not hold plotly.js")
for pooling in ("avg", "max"):
    card = json.loads((package / f"embedder/weights/birds_{pooling}.json").read_text(encoding="utf-8"))
    if not card:
        sys.exit(f"the card of birds_{pooling} is empty")
    if dmlviz.demo_gallery(pooling).evaluate().precision_at_1 < 0.9:
        sys.exit(f"birds_{pooling} does not retrieve")
carried = ["py.typed", *(f"cli/notebooks/{name}" for name in NOTEBOOKS)]
carried.append("cli/jupyter/labconfig/page_config.json")
if missing := [name for name in carried if not (package / name).is_file()]:
    sys.exit(f"missing from the wheel: {', '.join(missing)}")

script = Path(sys.executable).with_name("dmlviz")
with tempfile.TemporaryDirectory() as folder:
    page = Path(folder) / "why.html"
    subprocess.run([script, "demo", "--html", page], check=True)
    text = page.read_text(encoding="utf-8")
    if len(text) < 500_000 or "<html" not in text:
        sys.exit("dmlviz demo --html wrote no page")
    shown = subprocess.run([script, "--version"], check=True, capture_output=True, text=True).stdout
    if dmlviz.__version__ not in shown:
        sys.exit(f"dmlviz --version printed {shown!r}")
print(f"the wheel of dmlviz {dmlviz.__version__} works from {package.parent.name}: 1 passed, 0 failed")
