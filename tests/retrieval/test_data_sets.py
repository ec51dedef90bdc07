"""From a data set's folder to its figures: every reader, its protocol, and the page that names them."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dmlviz.images import ImageSet, Preprocess, lfw_pairs, oxford_queries
from dmlviz.images.from_layouts import FromLayouts
from dmlviz.retrieval import Gallery, Judgements
from dmlviz.retrieval.protocols.registry import PROTOCOLS

torch = pytest.importorskip("torch")
PAGE = (Path(__file__).parents[2] / "docs" / "applications.md").read_text(encoding="utf-8")


def trees(name):
    """The functions that write small trees for the readers' own tests."""
    path = Path(__file__).parents[1] / "images" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FIRST, MORE = trees("test_layouts"), trees("test_layouts_more")


@pytest.fixture(scope="module")
def embedder():
    from dmlviz.embedder import Embedder

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parts = (torch.nn.Conv2d(3, 4, 4, stride=4), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    return Embedder.from_module(torch.nn.Sequential(*parts), Preprocess.stretch(8), name="small")


def put(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)


def cub(root):
    return ImageSet.from_cub(FIRST.cub(root)), {}, {}


def cars196(root):
    cars = [(n, 99 + n % 2, n % 2, 1, 1, 2, 2) for n in range(1, 7)]
    return ImageSet.from_cars196(MORE.commas(root, cars)), {}, {}


def sop(root):
    return ImageSet.from_sop(MORE.sop(root), "all"), {}, {}


def in_shop(root):
    MORE.in_shop(root)
    queries = ImageSet.from_in_shop(root, "query")
    return ImageSet.from_in_shop(root, "gallery"), {"queries": queries}, {}


def oxford(root):
    pictures, lists = MORE.oxford(root)
    for query in ("all_souls_2", "all_souls_10"):
        for kind, names in (("good", "all_souls_000026\n"), ("ok", ""), ("junk", "oxford_002985\n")):
            (lists / f"{query}_{kind}.txt").write_text(names)
    queries = oxford_queries(pictures, lists)
    return ImageSet.from_oxford(pictures), {"queries": queries}, {"judgements": Judgements.from_oxford(lists)}


def revisited(root):
    """Their own file says which pictures of the folder ask (qimlist), and which are ranked (imlist)."""
    pictures, _ = MORE.oxford(root)
    names = {"imlist": ["all_souls_000026", "oxford_002985"], "qimlist": ["all_souls_000013"]}
    lists = {"easy": [0], "hard": [1], "junk": [], "bbx": [5.5, 2.4, 20.5, 12.6]}
    path = root / "gnd_roxford5k.json"
    path.write_text(json.dumps({**names, "gnd": [lists]}))
    every = ImageSet.from_oxford(pictures)
    stems = every.table["stem"].tolist()
    ranked, asking = ([stems.index(name) for name in names[part]] for part in ("imlist", "qimlist"))
    return every.subset(ranked), {"queries": every.subset(asking)}, {"judgements": Judgements.from_json(path)}


def market1501(root):
    for n, name in enumerate(
        ("0002_c1s1_000451_03", "0002_c4s6_020001_02", "-1_c3s2_000100_01", "0000_c6s4_002427_07")
    ):
        put(root / "bounding_box_test" / f"{name}.png", n)
    put(root / "query" / "0002_c1s1_000451_00.png", 9)
    queries = ImageSet.from_market1501(root, "query")
    return ImageSet.from_market1501(root), {"queries": queries, "leave_out": "same-camera"}, {}


def lfw(root):
    for n, name in enumerate(("Ann_Lee_0001", "Ann_Lee_0002", "Bo_0001", "Bo_0002")):
        put(root / "lfw" / name[:-5] / f"{name}.png", n)
    images = ImageSet.from_lfw(root / "lfw")
    path = root / "pairs.txt"
    path.write_text("2\t1\nAnn_Lee\t1\t2\nAnn_Lee\t2\tBo\t1\nBo\t1\t2\nAnn_Lee\t1\tBo\t2\n")
    pairs = lfw_pairs(path, images)
    return images, {}, {"pairs": pairs[["a", "b"]], "same": pairs["same"], "folds": 2}


def cvusa(root):
    FIRST.cvusa(root, [30, 4, 17])
    ground, aerial = ImageSet.from_cvusa(root)
    return aerial, {"queries": ground}, {}


DATA_SETS = {
    "from_cub": (cub, ["cub"]),
    "from_cars196": (cars196, ["cars"]),
    "from_sop": (sop, ["sop"]),
    "from_in_shop": (in_shop, ["in-shop"]),
    "from_oxford": (oxford, ["oxford5k", "paris6k"]),
    "from_oxford, revisited": (revisited, [name for name in PROTOCOLS if name[:3] in ("rox", "rpa")]),
    "from_market1501": (market1501, ["market1501"]),
    "from_lfw": (lfw, ["lfw"]),
    "from_cvusa": (cvusa, ["cvusa"]),
}
ANY = {"map@r", "map", "map@k", "clustering", "hashing"}


@pytest.mark.parametrize("reader", DATA_SETS)
def test_a_data_set_is_read_embedded_and_judged(reader, embedder, tmp_path):
    write, protocols = DATA_SETS[reader]
    images, options, judged_by = write(tmp_path / "data")
    gallery = Gallery.build(images, embedder, similarity="dot", progress=False, **options)
    for protocol in protocols:
        found = gallery.evaluate(protocol=protocol, **judged_by)
        assert found.values
        assert all(np.isfinite(value) for value in found.values.values())
        assert found.protocol == protocol


def test_every_reader_and_every_protocol_is_covered():
    readers = {name for name in vars(FromLayouts) if name.startswith("from_")}
    assert {name.partition(",")[0] for name in DATA_SETS} == readers
    assert {name for _, names in DATA_SETS.values() for name in names} | ANY == set(PROTOCOLS)


def rows_below(title):
    part = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return [line for line in part.splitlines() if line.startswith("| ")][1:]


def test_the_page_names_each_reader_with_its_protocols():
    rows = rows_below("Data sets and their readers")
    for reader, (_, protocols) in DATA_SETS.items():
        name, _, revisited = reader.partition(", ")
        (row,) = [
            row for row in rows if f"`ImageSet.{name}(" in row and ("revisited" in row) == bool(revisited)
        ]
        named = set(re.findall(r'`"([a-z0-9@-]+)"`', row.split("|")[-2]))
        assert named == set(protocols)
    assert len(rows) == len(DATA_SETS)


def test_the_page_names_each_protocol_with_what_it_needs():
    rows = rows_below("Protocols")
    named = [re.findall(r'`"([a-z0-9@-]+)"`', row.split("|")[1]) for row in rows]
    assert sorted(name for names in named for name in names) == sorted(PROTOCOLS)
    for row, names in zip(rows, named, strict=True):
        for name in names:
            assert set(re.findall(r"`(\w+)=`", row)) >= set(PROTOCOLS[name].needs)
            assert set(re.findall(r"`(\w+)=`", row)) <= {
                *PROTOCOLS[name].needs,
                *PROTOCOLS[name].takes,
                "queries",
            }
            ks = PROTOCOLS[name].ks
            assert ks is None or ", ".join(map(str, ks)) in row
