"""The methods that read the last feature map, on real networks and pictures."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from dmlviz.embedder import Embedder
from dmlviz.explanation import (
    cam,
    decompose_similarity,
    dist_cam,
    grad_cam,
    l1_split,
    published_decomposition,
    rectified_grad_cam,
)
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


def pair(nets, name, folder, sub):
    net = nets.load(name)
    embedder = Embedder.from_module(net, lambda image: net.preprocess([image])[0], name=name)
    frame = pd.read_csv(REALDATA / folder / "labels.csv")
    images = ImageSet.from_frame(frame, image="file", label="label", root=REALDATA / folder / sub)
    return net, embedder, images[0], images[1]


@pytest.mark.parametrize(
    ("name", "folder", "sub"),
    [
        ("mobilefacenet_ms1m", "faces_lfw10", "images_112x112"),
        ("mobilenetv2_inat_bird", "birds_cub10", "images"),
    ],
)
def test_methods_hold_to_their_identities(nets, name, folder, sub):
    _, embedder, a, b = pair(nets, name, folder, sub)
    exact = decompose_similarity(embedder.local_embeddings(a), embedder.local_embeddings(b))
    constant = rectified_grad_cam(embedder, a, b, relu=False)
    for side in ("query", "gallery"):
        np.testing.assert_allclose(constant.overall_map(side), exact.overall_map(side), atol=1e-5)
    assert constant.residual == pytest.approx(-exact.unmapped("query"), abs=1e-4)
    # of the cosine itself only the offset's term is left
    parts = [embedder.local_embeddings(one) for one in (a, b)]
    (e_1, e_2), offset = (p.embedding.astype(np.float64) for p in parts), parts[0].offset
    u_1, u_2 = e_1 / np.linalg.norm(e_1), e_2 / np.linalg.norm(e_2)
    left = -float(offset @ (u_2 - (u_1 @ u_2) * u_1)) / float(np.linalg.norm(e_1))
    varying = rectified_grad_cam(embedder, a, b, norm="variable", relu=False)
    assert varying.query_map.sum() == pytest.approx(left, abs=1e-4)
    assert l1_split(embedder, a, b).adds_up
    assert l1_split(embedder, a, b, of="embedding").adds_up
    drawn = dist_cam(embedder, a, b)
    assert np.isfinite(drawn.query_map).all()
    assert drawn.similarity == pytest.approx(l1_split(embedder, a, b).similarity, rel=1e-5)
    assert grad_cam(embedder, a, b).query_map.any()


def test_without_its_offset_the_published_sum_of_faces_says_little(nets):
    _, embedder, a, b = pair(nets, "mobilefacenet_ms1m", "faces_lfw10", "images_112x112")
    exact = decompose_similarity(embedder.local_embeddings(a), embedder.local_embeddings(b))
    why = published_decomposition(embedder, a, b)
    assert abs(exact.offsets) > 0.5  # most of what the score is made of
    np.testing.assert_allclose(
        why.contributions, np.maximum(exact.contributions / exact.contributions.max(), 0), atol=1e-4
    )


def test_the_class_map_of_a_trained_classifier_sums_to_its_logit(nets):
    net, embedder, a, b = pair(nets, "mobilenetv2_inat_bird", "birds_cub10", "images")
    classifier = embedder.head.linear
    with torch.no_grad():
        logits = net(torch.from_numpy(embedder.preprocess(a))[None])[0].numpy()
    why = cam(embedder, a, b, classifier=classifier, reads="pooled")
    assert f"maps of class {logits.argmax()} " in why.note
    assert why.total == pytest.approx(float(logits.max()), rel=1e-4)
    assert why.query_map.shape == embedder.map_size
