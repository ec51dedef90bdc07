"""Who may import whom, read from the syntax trees; and what importing a room loads."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "dmlviz"

MAY_IMPORT = {
    "images": set(),
    "embedder": {"images"},
    "index": set(),
    "retrieval": {"images", "embedder", "index"},
    "explanation": {"embedder", "retrieval"},
    "faithfulness": {"images", "embedder", "retrieval", "explanation"},
    "learning": {"images", "embedder"},
    "figures": {"images", "embedder", "retrieval", "explanation"},
    "widgets": {"images", "embedder", "index", "retrieval", "explanation", "faithfulness", "figures"},
    "cli": {
        "images",
        "embedder",
        "index",
        "retrieval",
        "explanation",
        "faithfulness",
        "figures",
        "widgets",
        "learning",
    },
}
TYPES_ONLY = {("explanation", "retrieval"), ("figures", "retrieval")}

KEPT_IN = {
    "torch": {"embedder", "explanation", "learning"},
    "torchvision": {"embedder", "images"},
    "faiss": {"index"},
    "plotly": {"figures"},
    "anywidget": {"widgets"},
    "ipywidgets": {"widgets"},
    "traitlets": {"widgets"},
    "click": {"cli"},
    "safetensors": {"embedder", "learning"},
    "pyarrow": {"retrieval"},
    "narwhals": {"images"},
}
ONLY_WHEN_ASKED = {"torchvision", "timm", "jupyterlab", "pyarrow", "narwhals", "pandas"}


def room_of(path: Path, package: Path) -> str:
    return path.relative_to(package).parts[0].removesuffix(".py")


def imports(tree: ast.Module):
    """Yield (module, inside a function, only for type checkers) for each import statement."""

    def walk(node, in_function, types_only):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield alias.name, in_function, types_only
            elif isinstance(child, ast.ImportFrom):
                yield (child.module or ""), in_function, types_only
                if child.module == "dmlviz":
                    for alias in child.names:
                        yield f"dmlviz.{alias.name}", in_function, types_only
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                yield from walk(child, in_function, True)
            else:
                inside = in_function or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from walk(child, inside, types_only)

    yield from walk(tree, False, False)


def breaches(package: Path) -> list[str]:
    found = []
    for path in sorted(package.rglob("*.py")):
        room = room_of(path, package)
        if room not in MAY_IMPORT:
            continue
        where = path.relative_to(package)
        for module, in_function, types_only in imports(ast.parse(path.read_text(encoding="utf-8"))):
            top, *rest = module.split(".")
            if top == "dmlviz" and rest and rest[0] in MAY_IMPORT and rest[0] != room:
                if rest[0] not in MAY_IMPORT[room]:
                    found.append(f"{where}: {room} imports {rest[0]}")
                elif (room, rest[0]) in TYPES_ONLY and not types_only:
                    found.append(f"{where}: {room} imports {rest[0]} for more than types")
            if top in KEPT_IN and room not in KEPT_IN[top]:
                found.append(f"{where}: {top} is kept in {', '.join(sorted(KEPT_IN[top]))}")
            if top in ONLY_WHEN_ASKED and not (in_function or types_only):
                found.append(f"{where}: {top} loads before it is asked for")
    return found


def test_rooms_import_only_what_they_may():
    assert breaches(PACKAGE) == []


@pytest.mark.parametrize(
    ("room", "line", "said"),
    [
        ("index", "from dmlviz.retrieval import Gallery", "index imports retrieval"),
        ("images", "import dmlviz.embedder", "images imports embedder"),
        ("explanation", "from dmlviz.retrieval import Gallery", "for more than types"),
        ("retrieval", "import faiss", "faiss is kept in index"),
        ("widgets", "import plotly.graph_objects as go", "plotly is kept in figures"),
        ("embedder", "import torchvision", "torchvision loads before it is asked for"),
        ("retrieval", "def f():\n    from dmlviz import widgets", "retrieval imports widgets"),
    ],
)
def test_a_planted_breach_is_caught(tmp_path, room, line, said):
    (tmp_path / room).mkdir()
    (tmp_path / room / "planted.py").write_text(line)
    assert [breach for breach in breaches(tmp_path) if said in breach]


def loaded_by(statement: str, names: list[str]) -> list[str]:
    code = f"import sys; {statement}; print(*[n for n in {names!r} if n in sys.modules])"
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()


HEAVY = ["torch", "torchvision", "faiss", "plotly", "ipywidgets", "anywidget", "timm", "jupyterlab"]
HEAVY += ["pandas", "pyarrow", "narwhals"]


@pytest.mark.parametrize(
    ("statement", "may"),
    [
        ("import dmlviz", set()),
        ("import dmlviz.images", set()),
        ("import dmlviz.index", {"faiss"}),
        ("import dmlviz.explanation", {"torch"}),
        ("import dmlviz.retrieval", {"torch", "faiss"}),
    ],
)
def test_importing_a_room_loads_no_more_than_it_needs(statement, may):
    assert set(loaded_by(statement, HEAVY)) <= may


def test_the_loading_test_can_fail():
    assert loaded_by("import faiss", HEAVY) == ["faiss"]


def test_the_first_page_loads_no_data_frames():
    """They take longer to load than the rest of the way from a gallery to its Explorer."""
    shown = (
        "import dmlviz as dv; from dmlviz.cli.page import telling_queries; "
        "from dmlviz.embedder import birds_embedder; "
        "gallery = dv.Gallery.build(dv.birds(families=2, per_class=4), birds_embedder(), progress=False); "
        "dv.Explorer(gallery); assert telling_queries(gallery)"
    )
    assert loaded_by(shown, ["pandas", "pyarrow"]) == []
