"""The protocol "hashing": the very numbers of `hashing_evaluation` on the gallery's signs."""

import numpy as np
import pytest
from fake_gallery import gallery_of

from dmlviz.index import sign_bits
from dmlviz.retrieval import hashing_evaluation


def some(seed, count, dim=6):
    random = np.random.default_rng(seed)
    return random.standard_normal((count, dim)).astype(np.float32), [
        f"c{c}" for c in random.integers(0, 4, count)
    ]


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("threshold", ["zero", "median", 0.3])
def test_equals_the_function(own, threshold):
    rows, labels = some(0, 40)
    asking, asked = (rows, labels) if own else some(1, 9)
    gallery = gallery_of(rows, labels, queries=None if own else (asking, asked))
    if threshold == 0.3:
        threshold = np.full(6, 0.3)
    result = gallery.evaluate(protocol="hashing", at=10, precision_at=20, radius=1, threshold=threshold)
    fit = {"fit_on": rows} if isinstance(threshold, str) and threshold == "median" else {}
    expected = hashing_evaluation(
        sign_bits(asking, threshold, **fit),
        sign_bits(rows, threshold, **fit),
        asked,
        labels,
        at=10,
        precision_at=20,
        radius=1,
        same_set=own,
    )
    assert dict(result.values) == pytest.approx(dict(expected.values), nan_ok=True)
    for name, values in expected.per_query.items():
        np.testing.assert_array_equal(result.per_query[name], values)
    assert (result.tied, result.dropped) == (expected.tied, expected.dropped)
    assert result.definition.endswith(expected.definition)
    assert result.query_ids.tolist() == list(range(len(asked)))


def test_frames_and_what_is_dropped():
    rows, labels = some(2, 12)
    rows[0], labels[1] = 0, "alone"
    with pytest.warns(UserWarning, match="length zero"):
        gallery = gallery_of(rows, labels)
    result = gallery.evaluate(protocol="hashing")
    alone = [i for i in range(1, 12) if labels[1:].count(labels[i]) == 1]
    assert 1 in alone
    assert result.dropped == 1 + len(alone)
    assert result.query_ids.tolist() == list(range(1, 12))
    frame = gallery.per_query(protocol="hashing")
    assert np.isnan(frame["AP (expected)"][1])
    assert not frame["evaluated"][0]
    failures = gallery.failures(protocol="hashing")
    assert failures["AP (expected)"].is_monotonic_increasing
    assert set(failures["query"]).isdisjoint({0, *alone})
    assert failures.attrs["sorted_by"] == "AP (expected), lowest first; then query"


def test_refuses():
    gallery = gallery_of(*some(3, 8))
    with pytest.raises(ValueError, match="threshold must be 'zero', 'median' or one number per component"):
        gallery.evaluate(protocol="hashing", threshold="mean")
    with pytest.raises(TypeError, match="it takes at, precision_at, radius, threshold"):
        gallery.evaluate(protocol="hashing", bits=3)
    with pytest.raises(ValueError, match="this gallery has no labels"):
        gallery_of(some(3, 8)[0]).evaluate(protocol="hashing")
