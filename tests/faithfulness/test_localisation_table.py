"""The table of weakly supervised localisation: against loops, planted classes, and the classifier it is given."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parent))  # for what tests of this room share
sys.path.append(str(Path(__file__).parents[2]))  # for benchmarks

from known_boxes import slow_enlarged
from test_localisation import slow_overlaps

import dmlviz as dv
from benchmarks.localisation import NETWORKS, RIDGES, as_markdown, galleries, ridge_classifier
from dmlviz.embedder import birds_embedder
from dmlviz.explanation import cam, class_scores, dist_cam
from dmlviz.faithfulness import KnownBoxes, localisation_table
from dmlviz.images import ImageSet

ROWS = [
    "CAM",
    "Dist-CAM, prototype",
    "Dist-CAM, best match",
    "decomposition, best match",
    "decomposition, prototype",
]


@pytest.fixture(scope="module")
def gallery():
    only = {"birds": NETWORKS["birds, average pooling"]}
    return next(galleries(0, only, families=1, per_class=4))[1]


@pytest.fixture(scope="module")
def found(gallery):
    return localisation_table({"birds": gallery}, baselines=["uniform"], progress=False).set_index("method")


def test_the_rows_and_what_they_hold(found):
    assert list(found.index) == [*ROWS, "uniform"]
    assert (found["queries"] == 12).all()
    assert (found["left_out"] == 0).all()
    for kind in ("", "best_"):
        inner = found[["low", "error", "high"] if not kind else ["best_low", "best_error", "best_high"]]
        assert (inner.diff(axis=1).iloc[:, 1:] >= -1e-12).all(axis=None)
        assert (found[f"{kind}error"] >= found[[f"{kind}box_error", "class_error"]].max(axis=1) - 1e-12).all()
    assert (found["best_error"] <= found["error"]).all()


def slow_error(gallery, query, label, values):
    geometry = gallery.query_embedder.geometry
    ious = slow_overlaps(slow_enlarged(values, 96, geometry), 0.2, gallery.queries.box(query))
    box = 1 - sum(iou >= 0.5 for iou in ious) / len(ious)
    return (1.0 if label != gallery.query_labels[query] else box), box


def test_each_row_equals_its_formula_written_out():
    """On a few queries, pixel by pixel, from feature maps."""
    only = {"birds": NETWORKS["birds, max pooling"]}
    gallery = next(galleries(1, only, families=1, per_class=2))[1]
    embedder, labels = gallery.embedder, np.asarray(gallery.labels)
    classes = sorted(set(labels.tolist()))
    frame = localisation_table({"b": gallery}, baselines=["uniform"], progress=False).set_index("method")
    of = {i: embedder.feature_maps([gallery.images[i]])[0].numpy().astype(float) for i in range(len(labels))}
    linear = embedder.head.linear.weight.detach().numpy().astype(float)
    scores = class_scores(embedder, gallery.queries)
    errors = {row: [] for row in [*ROWS, "uniform"]}
    for query in range(len(gallery.queries)):
        a = embedder.feature_maps([gallery.queries[query]])[0].numpy().astype(float)
        said = {}
        k = int(scores[query].argmax())
        weights = embedder.classifier.weight.detach().numpy()[k]
        said["CAM"] = classes[k], np.einsum("k,kij->ij", weights, only_at_the_maximum(a))
        distances = [
            np.abs(
                np.mean([of[i] for i in np.flatnonzero(labels == c)], axis=0).mean((1, 2)) - a.mean((1, 2))
            )
            for c in classes
        ]
        nearest = int(np.argmin([d.sum() for d in distances]))
        said["Dist-CAM, prototype"] = classes[nearest], np.einsum("k,kij->ij", norm(distances[nearest], a), a)
        embeddings = np.stack([linear @ of[i].max((1, 2)) for i in range(len(labels))])
        own = linear @ a.max((1, 2))
        cosines = embeddings @ own / np.linalg.norm(embeddings, axis=1)
        best = int(np.argmax(cosines))
        apart = np.abs(of[best].mean((1, 2)) - a.mean((1, 2)))
        said["Dist-CAM, best match"] = labels[best], np.einsum("k,kij->ij", norm(apart, a), a)
        cells = np.einsum("dk,kij->dij", linear, only_at_the_maximum(a))
        said["decomposition, best match"] = labels[best], np.einsum("d,dij->ij", embeddings[best], cells)
        means = np.stack([embeddings[labels == c].mean(0) for c in classes])
        likest = int(np.argmax(means @ own / np.linalg.norm(means, axis=1)))
        said["decomposition, prototype"] = classes[likest], np.einsum("d,dij->ij", means[likest], cells)
        said["uniform"] = labels[best], np.ones((12, 12))
        for row, (label, values) in said.items():
            errors[row].append(slow_error(gallery, query, label, values))
    for row, of_row in errors.items():
        error, box = np.mean(of_row, axis=0)
        assert frame.loc[row, "error"] == pytest.approx(error), row
        assert frame.loc[row, "box_error"] == pytest.approx(box), row


def only_at_the_maximum(a):
    at = a == a.max(axis=(1, 2), keepdims=True)
    return a * at / at.sum(axis=(1, 2), keepdims=True)


def norm(distances, a):
    floor = 1e-5 * np.abs(a.mean((1, 2))).max()
    inverse = 1 / np.maximum(distances, floor)
    return inverse * (a.any(axis=(1, 2)) | (distances > 0)) / inverse.sum()


def test_a_wrong_class_is_an_error_whatever_the_box():
    """Boxes as large as the view fit the uniform map; then the error is that of the class alone."""
    flock = dv.birds(families=1, per_class=4)
    training, judged = flock.subset(np.arange(0, 24, 2)), flock.subset(np.arange(1, 24, 2))
    labels = list(judged.labels)
    labels[0], labels[5] = "another", "species"
    asked = ImageSet.from_arrays([judged[i] for i in range(12)], labels)
    whole = KnownBoxes([(0, 0, 96, 96)] * 12)
    gallery = dv.Gallery.build(training, birds_embedder(), queries=asked, progress=False)
    right = np.mean([gallery.search(q, k=1).hits[0] for q in range(12)])
    frame = localisation_table({"n": gallery}, truth=(whole, whole), baselines=["uniform"], progress=False)
    row = frame.set_index("method").loc["uniform"]
    assert row["error"] == row["class_error"]
    assert row["error"] == pytest.approx(1 - right)
    assert right < 0.9
    assert row["box_error"] == 0
    assert "CAM" not in set(frame["method"])  # there is no classifier


def test_fewer_queries_are_a_seeded_choice(gallery):
    once, again = (
        localisation_table({"b": gallery}, baselines=[], queries=3, seed=3, progress=False) for _ in range(2)
    )
    assert once.equals(again)
    assert (once["queries"] == 3).all()


def test_scores_are_what_cam_explains(gallery):
    pictures = [gallery.queries[i] for i in (0, 3, 11)]
    scores = class_scores(gallery.embedder, pictures)
    assert scores.shape == (3, 6)
    for picture, of in zip(pictures, scores, strict=True):
        assert cam(gallery.embedder, picture, picture).similarity == pytest.approx(of.max(), rel=1e-5)
        assert cam(gallery.embedder, picture, picture, target=4).similarity == pytest.approx(of[4], rel=1e-4)
    assert dist_cam(gallery.embedder, pictures[0], pictures[1]).similarity < 0


@settings(deadline=None, max_examples=5)
@given(st.integers(0, 10**6))
def test_the_ridge_left_out_without_fitting_equals_fitting_without(seed):
    """Strength and weights against ridge regressions fitted anew for each row that is left out."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(["b", "a", "c"], 5)
    features = rng.normal(0, 1, (15, 4)) + (labels == "a")[:, None] * [1.5, 0, 0, 0]
    y = (labels[:, None] == ["a", "b", "c"]).astype(float)
    scatter = float(((features - features.mean(0)) ** 2).sum()) / 4

    def fitted(rows, ridge):
        x, t = features[rows], y[rows]
        design = np.concatenate([x, np.ones((len(x), 1))], axis=1)
        penalty = ridge * scatter * np.diag([1.0, 1, 1, 1, 0])
        return np.linalg.solve(design.T @ design + penalty, design.T @ t)

    wrong = []
    for ridge in RIDGES:
        said = [np.append(features[i], 1) @ fitted(np.arange(15) != i, ridge) for i in range(15)]
        wrong.append(sum(of.argmax() != own.argmax() for of, own in zip(said, y, strict=True)))
    best = max(k for k in range(len(RIDGES)) if wrong[k] == min(wrong))
    expected = fitted(np.arange(15), RIDGES[best])
    weight, bias = ridge_classifier(features, labels)
    np.testing.assert_allclose(weight, expected[:-1].T, atol=1e-8)
    np.testing.assert_allclose(bias, expected[-1], atol=1e-8)


def test_the_markdown_holds_every_row(found):
    text = as_markdown(found.reset_index())
    assert text.count("\n") == len(found) + 1
    uniform = found.loc["uniform"]
    assert f"| birds | uniform | {100 * uniform['error']:.1f} [" in text


def test_errors_say_what_was_expected(gallery):
    flock = dv.birds(families=1, per_class=1)
    alone = dv.Gallery.build(flock, birds_embedder(), progress=False)
    bare = dv.Gallery.build(
        ImageSet.from_arrays([flock[0], flock[1]]), birds_embedder(), queries=flock, progress=False
    )
    boxless = dv.Gallery.build(
        flock,
        birds_embedder(),
        queries=ImageSet.from_arrays([flock[0], flock[1]], ["a", "b"]),
        progress=False,
    )
    for given_, message in (
        ({}, "there is no network to ask"),
        ({"n": alone}, "'n' has no queries of its own, so each would be its own training sample"),
        ({"n": bare}, "'n' has no labels, and a class is to be right"),
        ({"n": boxless}, "no boxes are known round what the queries of 'n' show"),
    ):
        with pytest.raises(ValueError, match=message):
            localisation_table(given_, progress=False)
    with pytest.raises(ValueError, match="above 0 and at most 1; got 0"):
        localisation_table({"n": gallery}, threshold=0)
    with pytest.raises(ValueError, match="queries must be at least 1, got 0"):
        localisation_table({"n": gallery}, queries=0)
    with pytest.raises(ValueError, match="the classifier of 'n' has 6 classes, and 2 labels are known"):
        localisation_table({"n": gallery}, classes={"n": ["a", "b"]}, progress=False)
