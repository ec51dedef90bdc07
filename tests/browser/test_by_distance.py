"""An exported page of a gallery that ranks by distance: its numbers are of that distance, and add up."""

import numpy as np
import pytest

import dmlviz as dv
from dmlviz.embedder import Embedder, LinearHead, birds_embedder
from dmlviz.widgets import Explorer

from .conftest import settle

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def explorer():
    torch = pytest.importorskip("torch")
    birds, linear = birds_embedder(), torch.nn.Linear(128, 16)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(16, 128, generator=generator))
        linear.bias.copy_(torch.randn(16, generator=generator))
    embedder = Embedder(birds.trunk, LinearHead("avg", linear), birds.preprocess, geometry=birds.geometry)
    images = dv.birds(families=2, per_class=2)
    return Explorer(dv.Gallery.build(images, embedder, similarity="l2", progress=False), query=1, k=8)


@pytest.fixture(scope="module")
def exported(explorer, tmp_path_factory):
    methods = ["decomposition", "squared-l2-first-order", "grad-cam"]
    return explorer.to_html(tmp_path_factory.mktemp("page") / "near.html", methods=methods)


def numbers(card):
    """Terms and numbers of a card's visible lines, as they are read."""
    lines = dict(line.rsplit("\n", 1) for line in card.locator(".line:visible").all_inner_texts())
    return {name: text.replace("−", "-") for name, text in lines.items()}


def test_the_card_names_the_distance_and_adds_up(open_page, exported, explorer):
    page = open_page(exported).page
    for rank in (1, 5, 8):
        page.locator(f"[data-testid=ranked-item][data-rank='{rank}']").click()
        settle(page)
        card, why = page.get_by_test_id("score"), explorer._explained.why("decomposition", rank - 1)
        assert "minus squared distance, as FAISS ranked it" in card.inner_text()
        shown = {name: float(text) for name, text in numbers(card).items()}
        rest = shown["squared lengths and offsets"]
        total = shown["pairs that speak for"] + shown["pairs that speak against"] + rest
        assert total == pytest.approx(shown["sum"], abs=0.21 if abs(shown["sum"]) > 10 else 0.021)
        parts = shown["of the query"] + shown["of the match"] + shown["of both"]
        assert parts == pytest.approx(rest, abs=0.21 if abs(rest) > 100 else 0.021)
        assert float(card.get_attribute("data-similarity")) == pytest.approx(why.similarity)
        assert shown["sum"] < 0
        assert "✓ adds up" in page.get_by_test_id("residual").inner_text()
    tiles = page.get_by_test_id("ranked-item").all_inner_texts()
    scores = [float(tile.split("\n")[1].replace("−", "-")) for tile in tiles]
    np.testing.assert_allclose(scores, explorer.ranking.similarities, rtol=0.02)
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("side", ["query", "match"])
def test_under_the_cursor_the_two_parts_make_the_whole(open_page, exported, explorer, side):
    page = open_page(exported).page
    why = explorer._explained.why("decomposition", 0)
    own = why.query_offset if side == "query" else why.gallery_offset
    overall = why.overall_map("query" if side == "query" else "gallery")
    box = page.get_by_test_id(f"{side}-image").bounding_box()
    row, col = 5, 6
    place = explorer.gallery.embedder.geometry.pixel_of_cell(row, col)
    view = explorer.gallery.embedder.input_size
    page.mouse.move(
        box["x"] + box["width"] * (place[1] + 0.5) / view[1],
        box["y"] + box["height"] * (place[0] + 0.5) / view[0],
    )
    settle(page)
    shown = numbers(page.get_by_test_id("readout"))
    assert "share of the score" not in shown
    assert shown["cell"] == f"{side} · row {row}, col {col}"
    value, other, length = (
        float(shown[name]) for name in ("under the cursor", "with the other image", "own length and offset")
    )
    step = 2.1 * 10.0 ** -len(shown["under the cursor"].split(".")[1])
    assert other + length == pytest.approx(value, abs=step)
    near = 0.05 * float(np.abs(overall).max())  # the pointer lies on whole pixels of the screen
    assert value == pytest.approx(overall[row, col], abs=near)
    assert length == pytest.approx(own[row, col], abs=near)


def test_a_margin_is_the_difference_of_two_distances(open_page, exported, explorer):
    page = open_page(exported).page
    page.get_by_role("radio", name="margin").first.click()
    settle(page)
    card = page.locator(".card.margin").first
    _, margin = explorer._explained.margin("decomposition", 0)
    words = card.inner_text().replace("−", "-")
    assert "- (-" in words.replace("\u00a0", " ")
    assert "lengths" in words
    assert "✓ adds up" in words
    assert float(words.split("\n")[0]) == pytest.approx(margin.margin, rel=1e-2)


def test_two_maps_of_one_score_are_told_apart_and_add_up(open_page, exported):
    page = open_page(exported).page
    page.get_by_test_id("method").first.click()
    page.locator('[data-value="squared-l2-first-order"]').first.click()
    settle(page)
    card = page.get_by_test_id("score")
    assert "minus squared distance, as FAISS ranked it" in card.inner_text()
    shown = {name: float(text) for name, text in numbers(card).items()}
    cells = shown["cells of the query that speak for"] + shown["cells of the query that speak against"]
    assert cells + shown["map of the match, and offsets"] == pytest.approx(shown["sum"], abs=0.021)


def test_what_does_not_suit_is_greyed_with_its_reason(open_page, exported):
    page = open_page(exported).page
    page.get_by_test_id("method").first.click()
    option = page.locator('[data-value="published-decomposition"]').first
    assert option.get_attribute("aria-disabled") == "true"
    assert "ranks by minus the squared distance" in option.inner_text()
