"""Pairs and truth as users give them: what is taken, and what is refused in words."""

import numpy as np
import pytest

import dmlviz as dv
from dmlviz.embedder import birds_embedder
from dmlviz.faithfulness import KnownBoxes, KnownParts, Pairs, choose_pairs, completeness, truth_of
from dmlviz.faithfulness.pairs import as_pairs


@pytest.fixture(scope="module")
def birds():
    return dv.Gallery.build(dv.birds(families=1, per_class=2), birds_embedder(), progress=False)


def test_pairs_come_as_a_number_as_ids_or_as_they_are(birds):
    chosen = choose_pairs(birds, 4, seed=3)
    assert list(as_pairs(birds, np.int64(4), 3)) == list(chosen)
    assert as_pairs(birds, chosen) is chosen
    given = as_pairs(birds, np.array([[0, 1], [2, 3]]))
    assert list(given) == list(as_pairs(birds, iter([(0, 1), (2, 3)]))) == [(0, 1), (2, 3)]
    assert list(Pairs([0, 2], [1, 3], [0, 0], "by hand")) == [(0, 1), (2, 3)]


@pytest.mark.parametrize(
    ("pairs", "error", "words"),
    [
        (0, ValueError, "pairs must be at least 1, got 0"),
        (2.5, TypeError, r"pairs must be a whole number, got 2\.5"),
        (True, TypeError, "pairs must be a whole number, got True"),
        ([], ValueError, "there is no pair to ask about; give a number, or"),
        (Pairs([], [], [], "none"), ValueError, "there is no pair to ask about; give a number, or"),
        ([(0, 99)], IndexError, "99"),
        (Pairs([0], [99], [0], "of another gallery"), IndexError, "99"),
    ],
)
def test_pairs_that_cannot_be_asked_about_are_refused(birds, pairs, error, words):
    with pytest.raises(error, match=words):
        completeness(birds, pairs=pairs, progress=False)


def test_a_choice_that_cannot_be_made_is_refused(birds):
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        choose_pairs(birds, 0)
    with pytest.raises(TypeError, match=r"count must be a whole number, got 2\.5"):
        choose_pairs(birds, 2.5)
    with pytest.raises(ValueError, match="rule must be one of 'right', 'first', 'wrong'; got 'left'"):
        choose_pairs(birds, 2, "left")
    with pytest.raises(ValueError, match=r"three rows of one length.* got shapes \(2,\), \(1,\) and \(2,\)"):
        Pairs([0, 1], [2], [0, 0], "uneven")


def test_parts_are_in_the_pictures_own_pixels(birds):
    ids = [birds.images.part_ids(i) for i in range(len(birds.images))]
    known = truth_of(birds, KnownParts(ids, {3: "beak"})).query
    np.testing.assert_array_equal(known.mask(0, "beak"), ids[0] == 3)
    coarse = truth_of(birds, KnownParts([one[::2, ::2] for one in ids], {3: "beak"})).query
    with pytest.raises(
        ValueError, match=r"part_ids of image 1 have shape \(48, 48\), and .* 96 × 96 pixels: give"
    ):
        coarse.mask(1, "beak")
    with pytest.raises(ValueError, match="part must be one of 'beak'; got 'horn'"):
        known.mask(0, "horn")


@pytest.mark.parametrize("names", [{}, {1: "beak", 2: "beak"}])
def test_parts_have_names_of_their_own(names):
    with pytest.raises(ValueError, match="names gives each part's number a name of its own, such as"):
        KnownParts([np.ones((4, 4), int)], names)


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        ([[0, 0, 2, 2], [0, 0, 0, 4]], r"box 1 is \[0\.0, 0\.0, 0\.0, 4\.0\]"),
        ([[0, 0, np.nan, 4]], r"box 0 is \[0\.0, 0\.0, nan, 4\.0\]"),
        ([0, 0, 4, 4], r"got shape \(4,\)"),
    ],
)
def test_boxes_hold_something(boxes, words):
    with pytest.raises(ValueError, match=rf"^boxes are \(N, 4\): top, left, bottom, right .*; {words}$"):
        KnownBoxes(boxes)
