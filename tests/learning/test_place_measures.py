import numpy as np
import pytest

from dmlviz.embedder.local_embeddings import LocalEmbeddings
from dmlviz.images import places
from dmlviz.learning.place_measures import cell_with_most, measure_hover, measure_places


@pytest.fixture(scope="module")
def town():
    return places(8)


class Table:
    """Embeds pictures as rows of a table, in the order in which they come."""

    def __init__(self, rows):
        self.rows = np.asarray(rows, np.float32)

    def embed(self, pictures):
        assert len(pictures) == len(self.rows)
        return self.rows


class FourPlaces:
    """Two families of two."""

    ground = aerial = range(4)
    families = np.array([0, 0, 1, 1])

    def __len__(self):
        return 4


class Knowing:
    """Embeds each cell as the object that it shows most of: hover cannot miss. With `blind`, as nothing at all."""

    def __init__(self, town, view, blind=False):
        self.town, self.view, self.blind = town, view, blind

    def local_embeddings(self, picture):
        images = getattr(self.town, self.view)
        i = next(k for k in range(len(images)) if np.array_equal(images[k], picture))
        ids = self.town.object_ids(self.view, i)
        h, w = ids.shape[0] // 8, ids.shape[1] // 8
        middles = ids.reshape(h, 8, w, 8)[:, 3:5, :, 3:5]
        vectors = np.zeros((h, w, 20), np.float32)
        for number in range(1, 20):
            cells = ids.reshape(h, 8, w, 8) == number
            # most of the object for the panorama's point; its middle is on the object in the aerial view
            share = cells.sum((1, 3)) / 64
            vectors[..., number] = share + 2.0 * (middles == number).any((1, 3))
        if self.blind:
            vectors[...] = 1.0
        return LocalEmbeddings(vectors, np.zeros(20, np.float32))


def test_retrieval_by_hand():
    city = FourPlaces()
    queries = np.eye(4)
    items = np.array([[1.0, 0, 0, 0], [2.0, 1.0, 0, 0], [0, 0, 1.0, 0], [0.0, 0.0, 3.0, 1.0]])
    # queries 1 and 3 have something in common with their own item only; items 0 and 2 are what queries 0 and 2 are
    found = measure_places(Table(queries), Table(items), city)
    assert found["recall@1"] == 1.0
    assert np.isnan(found["misses within the family"])
    # queries 0 and 1 exchanged: each prefers its sibling
    found = measure_places(Table(queries), Table(np.eye(4)[[1, 0, 2, 3]]), city)
    assert found["recall@1"] == 0.5
    assert found["recall@5"] == 1.0
    assert found["recall@top 1 %"] == 0.5
    assert found["misses within the family"] == 1.0
    found = measure_places(Table(queries), Table(np.eye(4)[[2, 1, 0, 3]]), city)
    assert found["misses within the family"] == 0.0


def test_hover_of_who_knows_and_of_who_is_blind(town):
    known = measure_hover(Knowing(town, "ground"), Knowing(town, "aerial"), town)
    assert known["contribution"] > 0.97
    assert known["azimuth error"] < 8
    assert known["within 30 degrees"] > 0.9
    assert 0.02 < known["area"] < 0.08
    assert known["objects"] > 50
    blind = measure_hover(Knowing(town, "ground", True), Knowing(town, "aerial", True), town)
    assert blind["contribution"] < 0.15  # the first cell of all
    assert blind["within 30 degrees"] < 0.35


def test_the_cell_with_most():
    mask = np.zeros((16, 24), bool)
    mask[6:11, 14:20] = True
    assert cell_with_most(mask) == (1, 2)
