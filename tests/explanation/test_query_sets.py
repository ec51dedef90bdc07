"""Queries of a set of their own: an id is explained by the picture that it names there, by every method."""

import numpy as np
import pytest

import dmlviz as dv
from dmlviz.embedder import birds_embedder
from dmlviz.explanation import METHODS

OPTIONS = {
    "cam": {"classifier": (np.eye(64), None)},
    "mahalanobis": {"matrix": np.eye(64)},
    "occlusion": {"window": 48, "progress": False},
    "rise": {"masks": 20, "progress": False},
    "corr-rise": {"masks": 20, "progress": False},
}
ELSEWHERE = ("attention-rollout", "integrated-jacobian")  # in their own tests, with networks that suit them
QUERY, ITEM = 2, 4


@pytest.fixture(scope="module")
def birds():
    return dv.birds(families=1, per_class=2)


@pytest.fixture(scope="module")
def gallery(birds):
    """Six birds that are searched, six others that ask; ids of both run from 0 to 5."""
    others = birds.subset(range(6, 12))
    return dv.Gallery.build(birds.subset(range(6)), birds_embedder("avg"), queries=others, progress=False)


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ELSEWHERE])
def test_an_id_is_explained_as_its_picture_is(gallery, method):
    options = OPTIONS.get(method, {})
    by_id, by_picture, by_another = (
        dv.explain(gallery, query, ITEM, method, **options)
        for query in (QUERY, gallery.queries[QUERY], gallery.images[QUERY])
    )
    assert by_id.similarity == pytest.approx(by_picture.similarity, rel=1e-5)
    here, elsewhere = by_id.overall_map("query"), by_another.overall_map("query")
    np.testing.assert_allclose(here, by_picture.overall_map("query"), atol=1e-6)
    assert np.abs(here - elsewhere).max() > 1e-3
