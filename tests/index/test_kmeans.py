"""K-means: its groups are those of the nearest centre, its centres their means, and it says what it refuses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmlviz.index.kmeans import kmeans


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 999), count=st.integers(1, 60), dim=st.integers(1, 5), data=st.data())
def test_each_row_is_with_its_nearest_centre(seed, count, dim, data):
    k = data.draw(st.integers(1, count))
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    found = kmeans(rows, k, seed)
    assert found.cluster.shape == (count,)
    assert found.cluster.dtype == np.int64
    assert found.centres.shape == (k, dim)
    distance = np.square(rows[:, None].astype(float) - found.centres[None]).sum(axis=2)
    nearest = distance.min(axis=1)
    np.testing.assert_allclose(distance[np.arange(count), found.cluster], nearest, atol=1e-4)
    assert found.error == pytest.approx(nearest.mean(), abs=1e-4)
    again = kmeans(rows, k, seed)
    assert again.cluster.tolist() == found.cluster.tolist()


def test_a_clear_case_far_from_the_origin():
    random = np.random.default_rng(0)
    middles = 1000 + np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    rows = middles[np.arange(90) % 3] + 0.01 * random.standard_normal((90, 3))
    best = min((kmeans(rows, 3, seed) for seed in range(8)), key=lambda found: found.error)
    assert [len(set(best.cluster[start::3])) for start in range(3)] == [1, 1, 1]
    assert len(set(best.cluster[:3])) == 3
    np.testing.assert_allclose(np.sort(best.centres, axis=0), np.sort(middles, axis=0), atol=0.02)
    assert best.error < 0.001


def test_more_groups_are_no_worse_and_all_rows_count():
    rows = np.random.default_rng(2).standard_normal((2000, 4))
    errors = [kmeans(rows, k).error for k in (1, 4, 16, 64, 2000)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] == pytest.approx(np.square(rows - rows.mean(axis=0)).sum(axis=1).mean(), rel=1e-4)
    assert errors[-1] == pytest.approx(0, abs=1e-6)
    # FAISS alone would train on 256 rows per group: here every row moves its centre.
    found = kmeans(rows, 2, iterations=100)
    for group in range(2):
        np.testing.assert_allclose(found.centres[group], rows[found.cluster == group].mean(axis=0), atol=0.02)


def test_it_is_quiet(capfd):
    kmeans(np.random.default_rng(0).standard_normal((30, 3)), 20)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"rows": [1.0, 2.0]}, ValueError, r"rows must be of shape \(N, D\) .* got \(2,\)"),
        ({"rows": np.zeros((0, 3))}, ValueError, r"rows must be of shape \(N, D\) with N and D at least 1"),
        ({"rows": [["a"]]}, TypeError, "rows must be real numbers"),
        ({"rows": [[np.nan], [1.0]]}, ValueError, "rows must be finite in float32; row 0 holds"),
        ({"k": 3}, ValueError, "k must be at most the number of rows, 2; got 3"),
        ({"k": 0}, ValueError, "k must be at least 1, got 0"),
        ({"k": 1.5}, TypeError, "k must be a whole number"),
        ({"seed": 0.5}, TypeError, "seed must be a whole number, got 0.5"),
        ({"iterations": 0}, ValueError, "iterations must be at least 1, got 0"),
        ({"iterations": True}, TypeError, "iterations must be a whole number, got True"),
    ],
)
def test_refuses(change, error, words):
    with pytest.raises(error, match=words):
        kmeans(**({"rows": [[0.0], [1.0]], "k": 1} | change))
