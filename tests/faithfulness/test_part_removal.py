"""Parts taken away and swapped: planted costs, by loops, what must not change it, and what is kept."""

import gc
import math
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

sys.path.append(str(Path(__file__).parent))  # for known_boxes, which tests of this room share

from known_boxes import slow_enlarged

import dmlviz as dv
from dmlviz.embedder import CellGeometry, Embedder, LinearHead, birds_embedder
from dmlviz.faithfulness import Explained, KnownParts, choose_pairs, part_removal, part_swap
from dmlviz.faithfulness.evaluators import evaluator_named
from dmlviz.faithfulness.part_removal import drops_of, single_deletion
from dmlviz.images import ImageSet, Preprocess

SIZE, COUNT = 24, 30
PLACES = {
    "a": (2, 2),
    "b": (2, 13),
    "c": (13, 2),
    "d": (13, 13),
}  # far enough apart to be grown by two pixels
EVEN = dict.fromkeys(PLACES, 6)
UNEVEN = {"a": 3, "b": 5, "c": 7, "d": 8}


class Squares(ImageSet):
    """Black pictures with four squares of random colours; a swapped square gets half its colour."""

    def __init__(self, sides, count=COUNT, hidden=()):
        rng = np.random.default_rng(1)
        self.sides, self.hidden, self.parts = sides, dict(hidden), tuple(PLACES)
        self.colours = rng.integers(40, 256, (count, len(PLACES), 3))
        pictures = [self._draw(i) for i in range(count)]
        labels = [f"class {i // 3}" for i in range(count)]
        super().__init__(pictures.__getitem__, [str(i) for i in range(count)], labels)

    def mask(self, i, part):
        mask, (row, col) = np.zeros((SIZE, SIZE), bool), PLACES[part]
        if part not in self.hidden.get(i, ()):
            mask[row : row + self.sides[part], col : col + self.sides[part]] = True
        return mask

    def without(self, i, part):
        return self._draw(i, {part: 0.0})

    def swap(self, i, part):
        return self._draw(i, {part: 0.5})

    def _draw(self, i, dim=None):
        picture = np.zeros((SIZE, SIZE, 3), np.uint8)
        for n, part in enumerate(self.parts):
            picture[self.mask(i, part)] = self.colours[i, n] * (dim or {}).get(part, 1.0)
        return picture


class Planted(Explained):
    """Explanations whose query maps come from a function of the query and the item."""

    def __init__(self, gallery, of_pair):
        super().__init__(gallery)
        self._of_pair = of_pair

    def of(self, query, item):
        why = super().of(query, item)
        own = {"query_map": self._of_pair(query, item), "gallery_map": None}
        return replace(why, contributions=None, query_offset=None, gallery_offset=None, **own)


def gallery_of(squares, cell=1, geometry="true"):
    """A network without offsets that sees nothing in black: what a part costs is what it contributes."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        trunk = nn.Conv2d(3, 5, cell, stride=cell, bias=False)
    if geometry == "true":
        geometry = CellGeometry((cell, cell), ((cell - 1) / 2,) * 2, (cell, cell))
    seen = Preprocess.stretch(SIZE, mean=(0, 0, 0), std=(1, 1, 1))
    embedder = Embedder(trunk, LinearHead("avg"), seen, geometry=geometry)
    return dv.Gallery.build(squares, embedder, similarity="dot", progress=False)


@pytest.fixture(scope="module")
def even():
    return gallery_of(Squares(EVEN))


@pytest.fixture(scope="module")
def uneven():
    return gallery_of(Squares(UNEVEN))


def costs(gallery, query, item, how="without"):
    known = gallery.images
    changed = gallery.embedder.embed([getattr(known, how)(query, part) for part in known.parts])
    whole = float(gallery.query_embeddings[query].astype(float) @ gallery.embeddings[item])
    return np.array([whole - float(one.astype(float) @ gallery.embeddings[item]) for one in changed])


def with_costs(gallery, how="without", sign=1):
    """A map that puts on each part exactly what it costs."""

    def of_pair(query, item):
        known = gallery.images
        masks = [known.mask(query, part) for part in known.parts]
        per_pixel = [c / m.sum() for c, m in zip(costs(gallery, query, item, how), masks, strict=True)]
        return sign * sum(m * c for m, c in zip(masks, per_pixel, strict=True))

    return Planted(gallery, of_pair)


def asked(gallery, method="decomposition", pairs=COUNT, ask=part_removal, **options):
    return ask(gallery, method, pairs, progress=False, **({"baselines": []} | options)).figures


@pytest.mark.parametrize(("ask", "how"), [(part_removal, "without"), (part_swap, "swap")])
def test_a_perfect_map_scores_one_and_an_inverted_one_nothing(uneven, ask, how):
    pairs = choose_pairs(uneven, COUNT)
    best = np.mean([costs(uneven, q, g, how).max() for q, g in pairs])
    perfect = asked(uneven, with_costs(uneven, how), pairs, ask)
    assert perfect["SD"].value == perfect["agreement"].value == 1
    np.testing.assert_allclose([perfect["skill"].value, perfect["drop"].value], [1, best], rtol=1e-6)
    inverted = asked(uneven, with_costs(uneven, how, -1), pairs, ask)
    assert inverted["SD"].value == inverted["agreement"].value == 0
    assert inverted["skill"].value < -0.5
    assert inverted["drop"].value < best / 2


def test_the_exact_decomposition_of_a_linear_network_is_perfect(uneven):
    found = asked(uneven)
    assert found["SD"].value == found["agreement"].value == 1
    assert len(found["skill"].values) == COUNT


def test_a_random_map_scores_chance(even):
    random = Planted(even, lambda q, g: np.random.default_rng([q, g]).random((SIZE, SIZE)))
    found = part_removal(
        even, random, [(q, (q + k) % COUNT) for q in range(COUNT) for k in (1, 2, 3)], progress=False
    )
    for name, chance in (("skill", 0), ("SD", 0.5), ("agreement", 0.25)):
        low, high = found.figures[name].interval()
        assert low < chance < high
        assert found.baselines["random part"][name].value == chance
    low, high = found.figures["drop"].interval()
    assert low < found.baselines["random part"]["drop"].value < high


def test_the_uniform_map_follows_the_parts_sizes_and_has_no_skill(uneven):
    found = part_removal(uneven, pairs=COUNT, baselines=["uniform"], progress=False)
    pairs = choose_pairs(uneven, COUNT)
    sizes = [(side + 4) ** 2 for side in UNEVEN.values()]
    expected = [0.5 + 0.5 * slow_spearman(costs(uneven, q, g), sizes) for q, g in pairs]
    uniform = found.baselines["uniform"]
    np.testing.assert_allclose(uniform["SD"].values, expected, atol=1e-12)
    assert abs(uniform["skill"].values).max() == 0
    assert uniform["SD"].value > 0.6  # what the skill is there for
    np.testing.assert_allclose(found.headline.value, 1)  # the method's SD is 1


def slow_dilated(mask):
    grown = np.zeros_like(mask)
    for r in range(mask.shape[0]):
        for c in range(mask.shape[1]):
            grown[r, c] = mask[max(0, r - 2) : r + 3, max(0, c - 2) : c + 3].any()
    return grown


def slow_spearman(x, y):
    """Pearson's of ranks, ties sharing theirs, by loops."""

    def ranked(values):
        return [1 + sum(b < a for b in values) + (sum(b == a for b in values) - 1) / 2 for a in values]

    rx, ry = ranked(list(x)), ranked(list(y))
    mx, my = sum(rx) / len(rx), sum(ry) / len(ry)
    top = sum((a - mx) * (b - my) for a, b in zip(rx, ry, strict=True))
    below = math.sqrt(sum((a - mx) ** 2 for a in rx) * sum((b - my) ** 2 for b in ry))
    return top / below if below else float("nan")


@pytest.mark.parametrize("density", [False, True])
@pytest.mark.parametrize("first", [0.0, 3.0])
def test_equals_the_loops_through_another_geometry(density, first):
    geometry = CellGeometry((4, 4), (first, first), (4, 4))
    gallery = gallery_of(Squares(UNEVEN, 9), cell=4, geometry=geometry)
    pairs = [(q, (q + 4) % 9) for q in range(9)]
    planted = Planted(gallery, lambda q, g: np.random.default_rng([q, g]).normal(size=(6, 6)))
    found = asked(gallery, planted, pairs, density=density)
    by_loops = [slow_trial(gallery, planted, q, g, geometry, density) for q, g in pairs]
    sd, uniform, agreement, drop = np.array(by_loops).T
    np.testing.assert_allclose(found["SD"].values, sd, atol=1e-12)
    np.testing.assert_allclose(found["agreement"].values, agreement)
    np.testing.assert_allclose(found["drop"].values, drop, rtol=1e-5)
    np.testing.assert_allclose(found["skill"].value, (sd.mean() - uniform.mean()) / (1 - uniform.mean()))


def slow_trial(gallery, planted, query, item, geometry, density):
    pixels = slow_enlarged(planted.of(query, item).query_map, SIZE, geometry)
    held, sizes = [], []
    for part in gallery.images.parts:
        grown = slow_dilated(gallery.images.mask(query, part))
        total = sum(pixels[r, c] for r in range(SIZE) for c in range(SIZE) if grown[r, c])
        held.append(total / grown.sum() if density else total)
        sizes.append(int(grown.sum()))
    drops = costs(gallery, query, item).tolist()
    picked = held.index(max(held))
    uniform = 0.5 if density else 0.5 + 0.5 * slow_spearman(drops, sizes)
    sd = 0.5 + 0.5 * slow_spearman(drops, held)
    return sd, uniform, float(drops.index(max(drops)) == picked), drops[picked]


def test_scale_and_order_do_not_matter(uneven):
    pairs = [(q, g) for q, g in choose_pairs(uneven, 12)]

    def noisy(times):
        return Planted(uneven, lambda q, g: times * np.random.default_rng([q, g]).normal(size=(SIZE, SIZE)))

    one = asked(uneven, noisy(1.0), pairs)
    scaled, back = asked(uneven, noisy(3e-7), pairs), asked(uneven, noisy(1.0), pairs[::-1])
    for name in one:
        np.testing.assert_allclose(scaled[name].values, one[name].values, atol=1e-9)
        np.testing.assert_allclose(back[name].values[::-1], one[name].values, atol=1e-12)


def test_parts_that_tie_share(even):
    def on_two(query, item):  # the same on the dearest and the cheapest
        known, cost = even.images, costs(even, query, item)
        return sum(known.mask(query, known.parts[n]) * 1.0 for n in (cost.argmax(), cost.argmin()))

    found = asked(even, Planted(even, on_two), pairs=6)
    pairs = choose_pairs(even, 6)
    assert found["agreement"].value == 0.5
    between = np.mean([(costs(even, q, g).max() + costs(even, q, g).min()) / 2 for q, g in pairs])
    np.testing.assert_allclose(found["drop"].value, between, rtol=1e-6)


def test_hidden_parts_do_not_count_and_too_few_say_nothing():
    gallery = gallery_of(Squares(UNEVEN, 6, {0: ("a",), 1: ("a", "b")}))
    found = part_removal(gallery, pairs=[(0, 3), (1, 3), (2, 3)], progress=False, baselines=["random part"])
    assert np.isnan(found.figures["SD"].values).tolist() == [False, True, False]
    assert all(estimate.left_out == 1 for estimate in found.figures.values())
    chance = found.baselines["random part"]["agreement"].values
    np.testing.assert_allclose(chance[[0, 2]], [1 / 3, 1 / 4])


def test_maps_that_are_not_finite_are_left_out(even):
    broken = Planted(even, lambda q, g: np.full((SIZE, SIZE), np.nan if q % 2 else 1.0))
    pairs = [(q, q + 1) for q in range(10)]
    assert asked(even, broken, pairs)["SD"].left_out == 5


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=3, max_size=7),
    st.floats(0.01, 100),
)
def test_single_deletion_by_loops(both, scale):
    drops, held = np.array(both, float).T
    found = single_deletion(drops, held)
    if len(set(drops)) == 1:
        assert np.isnan(found)
    elif len(set(held)) == 1:
        assert found == 0.5
    else:
        np.testing.assert_allclose(found, 0.5 + 0.5 * slow_spearman(drops, held), atol=1e-12)
        np.testing.assert_allclose(single_deletion(drops, scale * held), found, atol=1e-12)
        np.testing.assert_allclose(single_deletion(drops, -held), 1 - found, atol=1e-12)


def test_two_by_two_by_hand():
    # the part that costs .3 holds 2, the one that costs .1 holds 5: turned round; with a third below both
    assert single_deletion(np.array([0.3, 0.1]), np.array([2.0, 5.0])) == 0.0
    assert single_deletion(np.array([0.3, 0.1, 0.0]), np.array([2.0, 5.0, 1.0])) == 0.75


def test_what_a_pair_loses_is_the_difference_of_two_scores():
    flock = dv.birds(families=1, per_class=2)
    gallery = dv.Gallery.build(flock, birds_embedder(), progress=False)
    changed = flock.without(0, "wing")
    drop = drops_of(gallery, 0, 3, gallery.embedder.embed([changed]))
    np.testing.assert_allclose(drop[0], gallery.score(0, [3])[0] - gallery.score(changed, [3])[0], atol=1e-6)


def test_changed_pictures_are_embedded_once_and_go_with_the_gallery(monkeypatch):
    gallery = gallery_of(Squares(EVEN, 12))
    drawn = []
    own = Embedder.embed

    def counted(self, images, *rest):
        drawn.append(len(images))
        return own(self, images, *rest)

    monkeypatch.setattr(Embedder, "embed", counted)
    one = asked(gallery, "decomposition", 12)
    assert sum(drawn) == 12 * 4
    assert len(drawn) == 1  # in one batch
    assert asked(gallery, "grad-cam-unnormalised", 12)["SD"].trials == 12
    assert sum(drawn) == 12 * 4
    swapped = asked(gallery, "decomposition", 12, part_swap)
    assert sum(drawn) == 2 * 12 * 4
    assert swapped["drop"].value < one["drop"].value
    monkeypatch.undo()
    alive = weakref.ref(gallery)
    del gallery, one, swapped
    gc.collect()
    assert alive() is None


def test_on_birds_the_decomposition_picks_dear_parts_and_an_untrained_network_has_no_skill():
    gallery = dv.Gallery.build(dv.birds(families=2, per_class=4), birds_embedder(), progress=False)
    names = ["random weights", "uniform", "random part"]
    found = part_removal(gallery, pairs=40, baselines=names, progress=False)
    assert found.figures["SD"].interval()[0] > 0.5
    assert found.figures["agreement"].interval()[0] > found.baselines["random part"]["agreement"].value
    assert found.baselines["random weights"]["skill"].value < 0.1
    assert found.figures["drop"].value > found.baselines["random part"]["drop"].value
    assert list(found.baselines) == ["random part", "random weights", "uniform"]


def test_what_cannot_be_drawn_again_is_refused(even):
    plain = dv.Gallery.build(
        ImageSet.from_arrays([even.image(i) for i in range(4)]), even.embedder, progress=False
    )
    with pytest.raises(
        ValueError, match=r"'part-removal' cannot be asked .* no parts of the pictures are known"
    ):
        part_removal(plain, pairs=[(0, 1)], progress=False)
    known = KnownParts([np.ones((SIZE, SIZE), int)] * 4, {1: "all"})
    with pytest.raises(ValueError, match=r"'part-swap' .* cannot be drawn again with another part"):
        part_swap(plain, pairs=[(0, 1)], truth=known, progress=False)


def test_the_list_knows_both():
    for name, ask in (("part-removal", part_removal), ("part-swap", part_swap)):
        described, function = evaluator_named(name)
        assert described.name == name
        assert function is ask
        assert "read the skill" in described.caution
