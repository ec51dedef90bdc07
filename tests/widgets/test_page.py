"""The exported page as a file: what it holds, how large it is, how it is written."""

import base64
import gzip
import json
import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_gallery import SmallGallery

from dmlviz.explanation import decompose_similarity
from dmlviz.widgets import Explorer
from dmlviz.widgets.assets import built
from dmlviz.widgets.page import _Draft
from dmlviz.widgets.rounding import balanced, factors_of, largest_error, stepped

HOSTILE = '</script><script>alert(1)</script><img src="http://evil.example/x" onerror=alert(2)>\u2028'


def unpacked(html):
    """The payload and the data as the page's own script reads them."""
    packed = re.search(r'id="dmlviz-data">([^<]*)<', html)[1]
    raw = np.frombuffer(gzip.decompress(base64.b64decode(packed)), np.uint8)
    words, count = np.frombuffer(raw[:8].tobytes(), "<u4")
    payload = json.loads(raw[8 : 8 + words].tobytes())
    data = raw[8 + words :].copy()
    data[: 4 * count] = data[: 4 * count].reshape(4, count).T.reshape(-1)
    return payload, data.tobytes()


@pytest.fixture
def hostile():
    return SmallGallery(names=[f"{i}{HOSTILE}" for i in range(24)])


def test_it_refers_to_nothing_outside(hostile, tmp_path):
    html = Explorer(hostile, k=4).to_html(tmp_path / "a.html", queries=[0, 1, 2]).read_text("utf-8")
    page = re.sub(r'<script type="text/plain"[^>]*>[^<]*</script>', "", html)
    assert re.findall(r"https?:", page.replace("http://www.w3.org/2000/svg", "")) == []
    assert "default-src 'none'" in html
    assert not re.search(r"<link|<iframe|\bsrc=", page.split('<script type="module">')[0])


def test_names_cannot_leave_their_place(hostile, tmp_path):
    html = Explorer(hostile, k=4).to_html(tmp_path / "a.html", title=HOSTILE).read_text("utf-8")
    assert "<script>alert" not in html
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in html  # the title, escaped
    assert html.count("</script>") == 4
    payload, _ = unpacked(html)
    assert payload["pictures"]["g0"]["name"] == f"0{HOSTILE}"


def test_what_fits_is_exact(tmp_path):
    explorer = Explorer(SmallGallery(), query=2, k=4)
    payload, data = unpacked(explorer.to_html(tmp_path / "a.html").read_text("utf-8"))
    screen = payload["screens"]["2"]
    assert screen["rounding"] == ""
    packed = screen["whys"]["decomposition"]
    assert [each["n"] for each in packed] == [0, 1, 2, 3]
    for each in packed:
        why = explorer._explained.why("decomposition", each["n"])
        assert each["pairs"]["as"] == "f32"
        for ref, values in (
            (each["pairs"], why.contributions),
            (each["query"]["map"], why.overall_map("query")),
        ):
            stored = np.frombuffer(data, "<f4", count=ref["n"], offset=ref["o"])
            np.testing.assert_array_equal(stored, values.reshape(-1))
    image = payload["pictures"]["g2"]["image"]
    assert data[image["o"] : image["o"] + 4] in (b"RIFF", b"\xff\xd8\xff\xe0")


@pytest.mark.parametrize(("form", "bits"), [("i16", 16), ("i8", 8), ("factors", 8), ("factors", 11)])
def test_what_does_not_fit_is_rounded_and_the_page_says_how_far(form, bits):
    explorer = Explorer(SmallGallery(count=30, view=(64, 64), grid=(8, 8)), query=2, k=8)
    content, error = _Draft(explorer, [explorer._explained], ["decomposition"], None).page(form, bits)
    payload, data = unpacked(content.decode("utf-8"))
    screen = payload["screens"]["2"]
    packed = screen["whys"]["decomposition"]
    assert {each["pairs"]["as"] for each in packed} == {form}
    said = re.search(r"±([\d.e−]+);", screen["rounding"])[1].replace("−", "-")
    worst = 0.0
    for each in packed:
        why = explorer._explained.why("decomposition", each["n"])
        rounded = _decoded(each, data)
        tensor = balanced(rounded, why)
        worst = max(worst, float(np.abs(tensor - why.contributions.reshape(tensor.shape)).max()))
    assert 0 < worst <= float(said) + 1e-12
    assert worst == pytest.approx(error)


def test_the_finest_form_that_fits_is_taken(tmp_path, monkeypatch):
    explorer = Explorer(SmallGallery(count=30, view=(64, 64), grid=(8, 8)), query=2, k=8)
    sizes, errors = [], []
    script = len(built("explorer.js"))
    for room in (2_000_000, script + 785_000, script + 765_000, 1):
        monkeypatch.setattr("dmlviz.widgets.page.MOST_BYTES", room)
        monkeypatch.setattr("dmlviz.widgets.page.MOST_BYTES_PER_QUERY", 1)
        html = explorer.to_html(tmp_path / "a.html", queries=[2, 3]).read_text("utf-8")
        said = re.search(r"±([\d.e−]+);", unpacked(html)[0]["screens"]["2"]["rounding"] or "±0;")[1]
        sizes.append(len(html.encode("utf-8")))
        errors.append(float(said.replace("−", "-")))
        assert sizes[-1] <= room or room == 1
    assert sizes == sorted(sizes, reverse=True)
    assert errors == sorted(errors)
    assert errors[0] == 0 < errors[-1]


def _decoded(why, data):
    pairs = why["pairs"]
    if pairs["as"] == "factors":
        q, g = (_cells(why[side]["factors"], data) for side in ("query", "match"))
        return ((q @ g.T) * why["scale"] * why["query"]["factors"]["step"] ** 2).astype(np.float32)
    dtype = "<i2" if pairs["as"] == "i16" else "i1"
    values = np.frombuffer(data, dtype, count=pairs["n"], offset=pairs["o"]) * pairs["step"]
    return values.reshape(64, 64).astype(np.float32)


def _cells(ref, data):
    low, high = np.frombuffer(data, np.uint8, count=ref["n"], offset=ref["o"]).reshape(2, -1).astype(int)
    values = low + 256 * high
    return np.where(values >= 2**15, values - 2**16, values).reshape(-1, ref["rank"])


def test_queries_come_in_their_order_once(tmp_path):
    explorer = Explorer(SmallGallery(), query=7)
    payload, _ = unpacked(explorer.to_html(tmp_path / "a.html", queries=[5, 3, 5]).read_text("utf-8"))
    assert payload["traits"]["_gallery"]["ids"] == [5, 3]
    assert payload["traits"]["query"] == 5
    assert "kernel" in payload["traits"]["_host"]["reason"]


def test_it_opens_as_the_explorer_stands(tmp_path):
    explorer = Explorer(SmallGallery(), query=7, mode="point", scale="ranking")
    explorer.focus, explorer.pin = 3, ["query", 10, 12]
    payload, _ = unpacked(explorer.to_html(tmp_path / "a.html", queries=[3, 7]).read_text("utf-8"))
    traits = payload["traits"]
    assert (traits["query"], traits["focus"], traits["pin"], traits["mode"]) == (
        7,
        3,
        ["query", 10.0, 12.0],
        "point",
    )


def test_paths_and_queries_that_cannot_be(tmp_path, small):
    explorer = Explorer(small)
    with pytest.raises(FileNotFoundError, match=r"the folder .* does not exist"):
        explorer.to_html(tmp_path / "no" / "a.html")
    with pytest.raises(IsADirectoryError, match="is a folder; give the name"):
        explorer.to_html(tmp_path)
    with pytest.raises(IndexError, match="from 0 to 23; got 77"):
        explorer.to_html(tmp_path / "a.html", queries=[1, 77])
    with pytest.raises(TypeError, match="whole number"):
        explorer.to_html(tmp_path / "a.html", queries=["one"])
    with pytest.raises(ValueError, match="queries is empty"):
        explorer.to_html(tmp_path / "a.html", queries=[])
    assert list(tmp_path.iterdir()) == []


def test_writing_replaces_and_leaves_no_scraps(tmp_path, small):
    path = tmp_path / "a.html"
    path.write_text("old")
    assert Explorer(small).to_html(str(path)) == path
    assert path.read_bytes().startswith(b"<!doctype html>")
    assert list(tmp_path.iterdir()) == [path]


def test_an_unlabelled_gallery_exports(tmp_path):
    explorer = Explorer(SmallGallery(labels=False))
    payload, _ = unpacked(explorer.to_html(tmp_path / "a.html").read_text("utf-8"))
    assert payload["traits"]["_gallery"]["labels"] is None
    assert payload["screens"]["0"]["items"][0]["hit"] is None


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 3), st.integers(1, 4), st.sampled_from([4, 8, 12]), st.integers(0, 2**16))
def test_rows_and_columns_of_rounded_pairs_sum_to_the_exact_maps(h, w, bits, seed):
    from dmlviz.embedder import LocalEmbeddings

    rng = np.random.default_rng(seed)
    sides = [
        LocalEmbeddings(rng.normal(size=(h, w, 5)).astype(np.float32), rng.normal(size=5).astype(np.float32)),
        LocalEmbeddings(rng.normal(size=(w, 2, 5)).astype(np.float32), rng.normal(size=5).astype(np.float32)),
    ]
    why = decompose_similarity(*sides)
    factors = factors_of({0: sides[0].vectors, 1: sides[1].vectors}, bits)
    scale = 1 / float(np.linalg.norm(sides[0].embedding) * np.linalg.norm(sides[1].embedding))
    whole, step = stepped(why.contributions, 8)
    size = float(np.abs(why.contributions).max())
    for rounded in (
        factors.pairs(0, 1, scale),
        (whole * step).astype(np.float32).reshape(h * w, 2 * w),
    ):
        tensor = balanced(rounded, why)
        rows = (why.overall_map("query") - why.query_offset).reshape(-1)
        cols = (why.overall_map("gallery") - why.gallery_offset).reshape(-1)
        np.testing.assert_allclose(tensor.sum(1), rows, atol=1e-5 * max(1, size))
        np.testing.assert_allclose(tensor.sum(0), cols, atol=1e-5 * max(1, size))
    assert largest_error([whole.reshape(h * w, 2 * w) * np.float32(step)], [why]) <= 4 * step + 1e-6


def test_more_bits_lie_nearer():
    rng = np.random.default_rng(0)
    vectors = {i: rng.normal(size=(3, 3, 6)) for i in range(4)}
    exact = vectors[0].reshape(9, 6) @ vectors[1].reshape(9, 6).T
    errors = [np.abs(factors_of(vectors, bits).pairs(0, 1, 1.0) - exact).max() for bits in (6, 8, 10, 12)]
    assert all(finer < 0.5 * coarser for coarser, finer in pairwise(errors))


def test_vectors_of_no_length_are_kept_as_zeros():
    factors = factors_of({0: np.zeros((2, 2, 3))})
    np.testing.assert_array_equal(factors.pairs(0, 0, 1.0), np.zeros((4, 4), np.float32))


def test_ten_queries_of_the_demo_take_two_megabytes_at_most(tmp_path):
    from dmlviz.retrieval import demo_gallery

    gallery = demo_gallery()
    explorer = Explorer(gallery)
    missed = [int(query) for query in gallery.failures()["query"][:7]]
    queries = list(dict.fromkeys([*missed, 3, 195, 500, 501, 502]))[:10]
    path = explorer.to_html(tmp_path / "ten.html", queries=queries)
    assert path.stat().st_size <= 2_000_000
    payload, data = unpacked(path.read_text("utf-8"))
    screen = payload["screens"][str(explorer.query)]
    item, why = screen["whys"]["decomposition"][0], explorer.why
    assert item["numbers"]["addsUp"] is True
    ref = item["query"]["map"]
    stored = np.frombuffer(data, "<f4", count=ref["n"], offset=ref["o"])
    np.testing.assert_array_equal(stored, why.overall_map("query").reshape(-1))
    said = float(re.search(r"±([\d.e−]+);", screen["rounding"])[1].replace("−", "-"))
    assert said <= 0.05 * float(np.abs(why.contributions).max())  # a twentieth of the strongest pair
