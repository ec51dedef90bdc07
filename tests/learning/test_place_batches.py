import numpy as np
import pytest

from dmlviz.images import places
from dmlviz.learning.place_batches import PlaceBatches, turned


@pytest.fixture(scope="module")
def batch():
    return PlaceBatches(seed=3, families=2, turns=2).batch(5)


def test_a_batch_is_pairs_of_views(batch):
    ground, aerial = batch
    assert ground.shape == (16, 64, 192, 3)
    assert aerial.shape == (16, 96, 96, 3)
    assert ground.dtype == aerial.dtype == np.uint8
    assert PlaceBatches(families=2, turns=2).size == 16


def test_a_batch_follows_from_seed_and_number_alone(batch):
    again = PlaceBatches(seed=3, families=2, turns=2)
    again.batch(0)
    for mine, theirs in zip(again.batch(5), batch, strict=True):
        assert np.array_equal(mine, theirs)
    for other in (PlaceBatches(3, 2, 2).batch(6), PlaceBatches(4, 2, 2).batch(5)):
        assert not np.array_equal(other[0], batch[0])


def test_the_same_family_in_two_turns_is_two_worlds(batch):
    ground, _ = batch
    first, second = ground[0:4], ground[4:8]
    assert not np.array_equal(first, second)
    rolls = [np.roll(second, 48 * k, axis=2) for k in range(4)]
    assert any(np.array_equal(first, roll[:, :, ::way]) for roll in rolls for way in (1, -1))


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_turned_world_keeps_the_azimuth_relation(quarters, mirrored):
    """Object by object: the turned masks lie in one direction in both views, 90 degrees per quarter further."""
    town = places(4)
    ids = [np.stack([town.object_ids(view, i) for i in range(4)]) for view in ("ground", "aerial")]
    below, above = turned(*ids, quarters, mirrored)
    assert below.shape == ids[0].shape
    off, checked = [], 0
    for i in range(4):
        for number, thing in town.objects(i).iterrows():
            here, there = below[i] == number, above[i] == number
            if thing["kind"] == "road" or min(here.sum(), there.sum()) < 30:
                continue
            turn = np.exp(2j * np.pi * np.nonzero(here)[1] / 192).mean()
            seen = town.azimuth_of_column((np.angle(turn) / (2 * np.pi) * 192 + 0.5) % 192 - 0.5)
            point = town.azimuth_of_point(*(axis.mean() for axis in np.nonzero(there)))
            expected = ((-1 if mirrored else 1) * thing["azimuth"] + 90 * quarters) % 360
            off.append(abs((seen - expected + 180) % 360 - 180))
            off.append(abs((point - expected + 180) % 360 - 180))
            checked += 1
    assert checked > 15
    assert np.median(off) < 6  # the camera stands up to 2 m from the middle
