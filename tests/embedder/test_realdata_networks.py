"""Real networks on real pictures: their parts add up, with the offset that must not be dropped."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from dmlviz.embedder import Embedder, LinearHead, embed_images
from dmlviz.images import ImageSet

REALDATA = Path(__file__).parents[2].parent / "shared" / "realdata"
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not REALDATA.exists(), reason="the pictures lie beside the project and are absent"),
]


@pytest.fixture(scope="module")
def nets():
    sys.path.insert(0, str(REALDATA))
    try:
        import nets

        yield nets
    finally:
        sys.path.remove(str(REALDATA))


def made(nets, name):
    net = nets.load(name)
    return net, Embedder.from_module(net, lambda image: net.preprocess([image])[0], name=name)


def pictures(folder, sub):
    frame = pd.read_csv(REALDATA / folder / "labels.csv")
    return ImageSet.from_frame(frame, image="file", label="label", root=REALDATA / folder / sub)


def recall_at_1(images, embeddings):
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    labels = np.asarray(images.labels)
    return float((labels[similarity.argmax(1)] == labels).mean())


@pytest.mark.parametrize(
    ("name", "folder", "sub", "pooling", "first"),
    [
        ("mobilefacenet_ms1m", "faces_lfw10", "images_112x112", "flatten", 0.0),
        ("mobilenetv2_inat_bird", "birds_cub10", "images", "avg", 31.0),
        ("mobilenetv2_imagenet", "birds_cub10", "images", "avg", 31.0),
    ],
)
def test_parts_of_real_networks_add_up(nets, name, folder, sub, pooling, first):
    net, embedder = made(nets, name)
    assert embedder.head.pooling == pooling
    assert embedder.geometry.first == (first, first)  # 31: padded on the far side only
    image = pictures(folder, sub)[3]
    inputs = torch.from_numpy(embedder.preprocess(image))[None]
    with torch.no_grad():
        own = net(inputs)[0].numpy()
        own64 = nets.load(name).double()(inputs.double())[0].numpy()
    exact = embedder.local_embeddings(image, dtype="float64")
    assert np.abs(exact.vectors.sum((0, 1)) + exact.offset - own64).max() <= 1e-10 * np.abs(own64).max()
    assert np.abs(embedder.local_embeddings(image).embedding - own).max() <= 1e-5 * np.abs(own).max()
    height, width = net.size
    from PIL import Image

    plain = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(embedder.view(image), plain)


def test_the_offset_of_the_face_network_is_longer_than_its_embeddings(nets):
    _, embedder = made(nets, "mobilefacenet_ms1m")
    images = pictures("faces_lfw10", "images_112x112")
    parts = embedder.local_embeddings(images[0])
    assert np.linalg.norm(parts.offset) / np.linalg.norm(parts.embedding) == pytest.approx(2.6, abs=0.1)
    found = embed_images(embedder, images, progress=False)
    assert recall_at_1(images, found.embeddings) == 1.0
    different = np.asarray(images.labels)[:, None] != np.asarray(images.labels)
    with_offset, without = found.embeddings, found.embeddings - parts.offset

    def mean_cosine(rows):
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return float((unit @ unit.T)[different].mean())

    assert mean_cosine(with_offset) == pytest.approx(0.02, abs=0.03)
    assert mean_cosine(without) == pytest.approx(0.88, abs=0.03)  # different people would look alike


def test_ties_at_the_clipped_maximum_are_shared(nets):
    """ReLU6 maps hold their maximum 6 in several cells: both rules add up, and they differ."""
    _, embedder = made(nets, "mobilenetv2_inat_bird")
    maps = embedder.feature_maps([pictures("birds_cub10", "images")[i] for i in range(4)])
    tied = (maps == maps.amax((2, 3), keepdim=True)).sum((2, 3)) > 1
    alive = maps.amax((2, 3)) > 0
    assert bool((tied & alive).any())
    own = maps.amax((2, 3)).numpy()
    split, first = (LinearHead("max", ties=ties).local_embeddings_batch(maps) for ties in ("split", "first"))
    for parts in (split, first):
        np.testing.assert_allclose([p.embedding for p in parts], own, rtol=1e-5)
    assert not np.array_equal(split[0].vectors, first[0].vectors)


def test_one_channel_networks(nets):
    net = nets.load("omniglot_conv4")
    embedder = Embedder.from_module(net, lambda image: net.preprocess([image])[0])
    ink = np.load(REALDATA / "chars_omniglot" / "gallery.npz")
    array = next(ink[key] for key in ink.files if ink[key].dtype == np.uint8 and ink[key].ndim == 3)[0]
    image = np.repeat((255 - array)[..., None], 3, axis=2)
    own = net(net.preprocess([array]))[0].detach().numpy()
    np.testing.assert_allclose(embedder.local_embeddings(image).embedding, own, rtol=1e-4, atol=1e-5)
    assert embedder.geometry.stride == (4, 4)
