"""What is packed for the page comes out of the buffer as it went in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_gallery import SmallGallery

from dmlviz.embedder import LocalEmbeddings
from dmlviz.widgets import Explorer
from dmlviz.widgets.buffers import Buffer
from dmlviz.widgets.likeness import gram


def floats(screen, ref):
    return np.frombuffer(screen["data"], "<f4", count=ref["n"], offset=ref["o"])


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_every_map_and_tensor_is_the_explanations_own(similarity):
    explorer = Explorer(SmallGallery(similarity=similarity), query=4, k=6)
    screen, explained = explorer._screen, explorer._explained
    items = screen["meta"]["items"]
    packed = screen["meta"]["whys"]["decomposition"]
    assert sorted(each["n"] for each in packed) == list(range(6))
    for each in packed:
        item, why = items[each["n"]], explained.why("decomposition", each["n"])
        for ref, values in (
            (each["query"]["map"], why.overall_map("query")),
            (each["match"]["map"], why.overall_map("gallery")),
            (each["query"]["offset"], why.query_offset),
            (each["match"]["offset"], why.gallery_offset),
            (each["pairs"], why.contributions),
        ):
            np.testing.assert_array_equal(floats(screen, ref), values.reshape(-1))
        numbers = each["numbers"]
        assert item["score"] == pytest.approx(numbers["similarity"], abs=1e-7)
        assert numbers["for"] + numbers["against"] == pytest.approx(numbers["pairs"], abs=1e-9)
        offsets = numbers["queryOffset"] + numbers["galleryOffset"] + numbers["constant"]
        assert numbers["pairs"] + offsets - numbers["similarity"] == pytest.approx(
            numbers["residual"], abs=1e-12
        )
        margin = each["margin"]
        cells = float(floats(screen, margin["map"]).sum(dtype=np.float64))
        assert cells + margin["offset"] == pytest.approx(margin["margin"], rel=1e-6, abs=1e-5)
        other = items[margin["other"]]
        assert other["hit"] is not item["hit"]
        difference = numbers["similarity"] - other["score"]
        assert difference == pytest.approx(margin["margin"], rel=1e-6, abs=1e-6)


def test_the_best_of_the_other_kind_is_found_beyond_the_ranking():
    gallery = SmallGallery(count=40, classes=4)
    explorer = Explorer(gallery, query=0, k=3)
    extra = [item for item in explorer._screen["meta"]["items"] if item["extra"]]
    full = gallery.search(0, k=39)
    for item in extra:
        assert full.ids[item["rank"] - 1] == item["id"]
        firsts = np.flatnonzero(full.hits == item["hit"])
        assert firsts[0] == item["rank"] - 1
    assert len({item["hit"] for item in explorer._screen["meta"]["items"]}) == 2


def test_a_class_of_its_own_has_no_margin():
    gallery = SmallGallery()
    gallery.labels = np.array(["one"] * len(gallery), dtype=object)
    screen = Explorer(gallery)._screen
    assert all(why["margin"] is None for why in screen["meta"]["whys"]["decomposition"])
    assert all(item["other"] is None for item in screen["meta"]["items"])
    assert "no image of the other kind" in screen["meta"]["whyNoMargin"]


def test_large_tensors_come_on_focus(monkeypatch):
    monkeypatch.setattr("dmlviz.widgets.screen.MOST_PAIR_BYTES", 1000)
    explorer = Explorer(SmallGallery(), query=1, k=4)
    whys = explorer._screen["meta"]["whys"]["decomposition"]
    assert {why["n"]: why["pairs"] is None for why in whys} == {0: False, 1: True, 2: True, 3: True}
    explorer.focus = 3
    wish = {"kind": "explain", "query": 1, "method": "decomposition", "items": [2], "margins": False}
    explorer._handle_custom_msg(wish, [])
    more = explorer._more
    assert (more["meta"]["query"], more["meta"]["method"], more["meta"]["failed"]) == (1, "decomposition", "")
    (why,) = more["meta"]["whys"]
    assert why["n"] == 2
    np.testing.assert_array_equal(floats(more, why["pairs"]), explorer.why.contributions.reshape(-1))


def test_an_embedding_of_no_length_is_undefined_not_an_error():
    gallery = SmallGallery()
    gone = gallery._locals[5]
    gallery._locals[5] = LocalEmbeddings(np.zeros_like(gone.vectors), np.zeros_like(gone.offset))
    gallery.embeddings = gallery.embeddings.copy()
    gallery.embeddings[5] = 0
    explorer = Explorer(gallery, query=5, k=3)
    numbers = explorer._screen["meta"]["whys"]["decomposition"][0]["numbers"]
    assert numbers["similarity"] is None
    assert numbers["addsUp"] is False


def test_unequal_grids_and_unknown_geometry():
    grids = [(6, 8) if i % 2 else (3, 5) for i in range(24)]
    explorer = Explorer(SmallGallery(grids=grids, geometry=False), query=0, k=12)
    meta = explorer._screen["meta"]
    whys = meta["whys"]["decomposition"]
    assert {tuple(why[side]["grid"]) for why in whys for side in ("query", "match")} == {(6, 8), (3, 5)}
    field = whys[0]["query"]
    assert field["guessed"] is True
    assert field["stride"] == pytest.approx([48 / 3, 64 / 5])
    assert field["first"] == pytest.approx([48 / 6 - 0.5, 64 / 10 - 0.5])


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(0, 2**16),
)
def test_the_length_of_a_mix_follows_from_neighbouring_products(grid, down, across, seed):
    h, w = grid
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(h, w, 3))
    products = gram(LocalEmbeddings(x, np.zeros(3))).astype(float)
    top, left = rng.integers(h), rng.integers(w)
    bottom, right = min(top + 1, h - 1), min(left + 1, w - 1)
    cells = [(top, left), (top, right), (bottom, left), (bottom, right)]
    weights = [(1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across]
    mixed = sum(weight * x[cell] for weight, cell in zip(weights, cells, strict=True))

    def product(a, b):
        (i, j), (k, n) = sorted((a, b))
        which = {(0, 0): 0, (0, 1): 1, (1, 0): 2, (1, 1): 3, (1, -1): 4}[k - i, n - j]
        return products[which, i, j]

    pairs = [
        (p, a, q, b) for p, a in zip(weights, cells, strict=True) for q, b in zip(weights, cells, strict=True)
    ]
    square = sum(p * q * product(a, b) for p, a, q, b in pairs)
    assert square == pytest.approx(float(mixed @ mixed), abs=1e-4)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=12))
def test_a_buffer_gives_back_what_it_took(parts):
    buffer, expected = Buffer(), []
    for is_floats, size in parts:
        if is_floats:
            values = np.arange(size, dtype=np.float32) + 0.5
            expected.append((buffer.floats(values), "<f4", values))
        else:
            values = np.arange(size, dtype=np.uint8)
            expected.append((buffer.file(values.tobytes()), "u1", values))
    whole = buffer.taken()
    assert len(whole) == len(buffer)
    for ref, dtype, values in expected:
        assert ref["o"] % 4 == 0
        np.testing.assert_array_equal(np.frombuffer(whole, dtype, count=ref["n"], offset=ref["o"]), values)
