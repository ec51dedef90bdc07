"""Birds drawn in another process are the birds drawn here."""

import sys

import numpy as np
import pytest

from dmlviz.images import BirdSet, birds
from dmlviz.images.drawn_elsewhere import birds_drawn_elsewhere, with_pictures


def holds_pictures(images: BirdSet) -> bool:
    """Whether the set was given its pictures, and draws none itself."""
    return images._read.pictures is not None  # type: ignore[attr-defined]


def test_the_other_process_draws_the_same_birds() -> None:
    here, there = birds(), birds_drawn_elsewhere()()
    assert holds_pictures(there)
    assert there.fingerprint == here.fingerprint
    assert there.names == here.names
    for i in (0, 7, 480, 959):
        assert (there[i] == here[i]).all()
        assert (there.part_ids(i) == here.part_ids(i)).all()
    assert (there.subset([3, 900])[1] == here[900]).all()


def test_pictures_in_memory_cannot_be_changed_through_a_picture() -> None:
    small = birds(families=1, per_class=1)
    pictures = np.stack(list(small))
    held = small.drawn(pictures)
    held[0][:] = 0
    assert (held[0] == small[0]).all()


def test_without_another_process_the_birds_are_drawn_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "no-such-python")
    there = birds_drawn_elsewhere()()
    assert not holds_pictures(there)
    assert (there[5] == birds()[5]).all()


@pytest.mark.parametrize("fault", ["short", "other first", "other last"])
def test_pictures_of_other_birds_are_not_taken(fault: str) -> None:
    small = birds(families=1, per_class=1)
    pictures = np.stack(list(small))
    pictures[{"short": 1, "other first": 0, "other last": -1}[fault], 3, 3, 1] ^= 1
    written = pictures.tobytes()[: -1 if fault == "short" else None]
    assert not holds_pictures(with_pictures(small, written))
    assert holds_pictures(with_pictures(small, np.stack(list(small)).tobytes()))
