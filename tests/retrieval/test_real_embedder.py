"""A gallery with a network: built, interrupted, gone on with, opened, searched and taken apart."""

import numpy as np
import pytest
from fake_gallery import coloured_images

from dmlviz.images import ImageSet, Preprocess
from dmlviz.retrieval import Gallery

torch = pytest.importorskip("torch")
nn = torch.nn


@pytest.fixture(scope="module")
def embedder():
    from dmlviz.embedder import Embedder

    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )
    return Embedder.from_module(model, Preprocess.stretch((16, 24)), name="small")


@pytest.fixture
def images():
    return coloured_images(30, 5)


def test_scores_are_the_embedders_own(embedder, images):
    gallery = Gallery.build(images, embedder, batch_size=7, progress=False)
    expected = embedder.embed(list(images)).astype(float)
    np.testing.assert_allclose(gallery.embeddings, expected, atol=1e-5)
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    ranking = gallery.search(4, k=29)
    np.testing.assert_allclose(ranking.similarities, unit[ranking.ids] @ unit[4], atol=1e-5)
    assert gallery.view(4).shape == (16, 24, 3)


def test_parts_add_up_to_the_score_that_ranks(embedder, images):
    gallery = Gallery.build(images, embedder, progress=False)
    for query in (0, images[3]):
        ranking = gallery.search(query, k=5)
        mine = gallery.query_local(query)
        scale = gallery.scale(mine.embedding, ranking.ids)
        for s, item, similarity in zip(scale, ranking.ids, ranking.similarities, strict=True):
            other = gallery.local_embeddings(item)
            left, right = mine.vectors.reshape(-1, 4), other.vectors.reshape(-1, 4)
            pairs = s * (left.astype(float) @ right.T).sum()
            offsets = s * (
                left.sum(0) @ other.offset + right.sum(0) @ mine.offset + mine.offset @ other.offset
            )
            assert abs(pairs + offsets - similarity) < 1e-5


def test_a_region_of_pixels(embedder, images):
    gallery = Gallery.build(images, embedder, progress=False)
    mask = np.zeros((16, 24), dtype=bool)
    mask[:8] = True
    upper, lower = gallery.search_region(0, mask, k=29), gallery.search_region(0, ~mask, k=29)
    total = {i: float(s) for i, s in zip(upper.ids, upper.similarities, strict=True)}
    for i, s in zip(lower.ids, lower.similarities, strict=True):
        total[i] += float(s)
    offset = gallery.query_local(0).offset
    scale = gallery.scale(gallery.embeddings[0], upper.ids)
    rest = scale * (gallery.embeddings[upper.ids] @ offset)
    np.testing.assert_allclose([total[i] for i in upper.ids] + rest, gallery.score(0, upper.ids), atol=1e-5)


def test_interrupted_builds_go_on(tmp_path, embedder, images, monkeypatch):
    calls, whole = [], embedder.embed_inputs

    def interrupted(inputs):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(len(inputs))
        return whole(inputs)

    with monkeypatch.context() as patch:
        patch.setattr(embedder, "embed_inputs", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Gallery.build(images, embedder, tmp_path / "g", batch_size=8, progress=False)
    assert [entry.name for entry in tmp_path.iterdir()] == ["g.unfinished"]
    with monkeypatch.context() as patch:
        patch.setattr(embedder, "embed_inputs", lambda inputs: calls.append(len(inputs)) or whole(inputs))
        built = Gallery.build(images, embedder, tmp_path / "g", batch_size=8, progress=False)
    assert calls == [8, 8, 8, 6]
    assert [entry.name for entry in tmp_path.iterdir()] == ["g"]
    opened = Gallery.open(tmp_path / "g", embedder, images)
    np.testing.assert_array_equal(opened.embeddings, built.embeddings)
    np.testing.assert_allclose(built.embeddings, embedder.embed(list(images)), atol=1e-5)


def test_unfinished_work_of_other_images_is_refused(tmp_path, embedder, images, monkeypatch):
    def interrupted(inputs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(embedder, "embed_inputs", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Gallery.build(images, embedder, tmp_path / "g", progress=False)
    with pytest.raises(ValueError, match="other images"):
        Gallery.build(coloured_images(30, 5, seed=9), embedder, tmp_path / "g", progress=False)


def test_changed_weights_are_another_embedder(tmp_path, images):
    from dmlviz.embedder import Embedder

    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    preprocess = Preprocess.stretch((16, 24))
    Gallery.build(images, Embedder.from_module(model, preprocess), tmp_path / "g", progress=False)
    Gallery.open(tmp_path / "g", Embedder.from_module(model, preprocess), images)
    with torch.no_grad():
        model[0].weight[0, 0, 0, 0] += 1e-3
    with pytest.raises(ValueError, match="its weights, head or preprocessing differ"):
        Gallery.open(tmp_path / "g", Embedder.from_module(model, preprocess), images)


def test_a_picture_without_a_signal_is_told_not_ranked(images):
    from dmlviz.embedder import Embedder

    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=4, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    nn.init.uniform_(model[0].weight)
    with_black = ImageSet.from_arrays([*images, np.zeros((8, 12, 3), np.uint8)])
    plain = Preprocess.stretch((16, 24), mean=(0, 0, 0), std=(1, 1, 1))
    with pytest.warns(UserWarning, match="has length zero"):
        gallery = Gallery.build(with_black, Embedder.from_module(model, plain), progress=False)
    assert gallery.unranked == (len(images),)
    with pytest.raises(ValueError, match="length zero"):
        gallery.search(len(images))
    assert len(images) not in gallery.search(0, k=len(with_black)).ids
