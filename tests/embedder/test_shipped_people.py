"""The shipped embedders of the drawn faces and the drawn persons."""

import hashlib

import numpy as np
import pytest

from dmlviz.embedder import CellGeometry, faces_embedder, persons_embedder
from dmlviz.embedder.shipped import WEIGHTS
from dmlviz.embedder.shipped_people import people_card
from dmlviz.images import faces, persons
from dmlviz.learning.bird_export import recall_at
from dmlviz.learning.people_measures import area_under_curve, hover_rate, recall_across

WHATS = ("faces", "persons")
GRIDS = {"faces": ((96, 96), (12, 12)), "persons": ((128, 64), (16, 8))}


class Shipped:
    """An embedder, its gallery of people it has not seen, and what it makes of them."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.images, self.embedder = (
            (faces(), faces_embedder()) if what == "faces" else (persons(), persons_embedder())
        )
        self.pictures = list(self.images)
        self.embeddings = self.embedder.embed(self.pictures)
        self.unit = self.embeddings / np.linalg.norm(self.embeddings, axis=1, keepdims=True)
        self.people = np.array([self.images.person(i) for i in range(len(self.images))])
        self.card = people_card(what)


@pytest.fixture(scope="module")
def of_faces():
    return Shipped("faces")


@pytest.fixture(scope="module")
def of_persons():
    return Shipped("persons")


@pytest.fixture(params=WHATS)
def shipped(request, of_faces, of_persons):
    return of_faces if request.param == "faces" else of_persons


def test_faces_never_seen_are_recognised(of_faces):
    found = recall_at(of_faces.embeddings, of_faces.people)
    assert found[1] >= FLOORS["faces"]
    card = of_faces.card["held_out"]
    assert {f"@{k}": share for k, share in found.items()} == pytest.approx(card["recall"], abs=0.006)
    assert card["untrained_network"]["recall"]["@1"] < 0.1
    for kin, name in ((0.0, "auc"), (1.0, "auc_of_kin")):
        a, b, same = of_faces.images.pairs(4000, seed=1, kin=kin)
        area = area_under_curve((of_faces.unit[a] * of_faces.unit[b]).sum(1), same)
        assert area == pytest.approx(card[name], abs=0.003)
        assert area > FLOORS[name]


def test_persons_never_seen_are_found_across_cameras(of_persons):
    cameras = np.array([of_persons.images.scene(i).camera for i in range(len(of_persons.images))])
    found = recall_across(of_persons.embeddings, of_persons.people, cameras, (1, 2, 4, 8))
    assert FLOORS["persons"] <= found[1] <= 0.97  # a gallery without a miss would teach nothing
    card = of_persons.card["held_out"]
    assert {f"@{k}": share for k, share in found.items()} == pytest.approx(card["recall"], abs=0.008)
    assert card["untrained_network"]["recall"]["@1"] < 0.1


def test_the_wrong_ones_are_mostly_kin(shipped):
    similarity = shipped.unit @ shipped.unit.T
    np.fill_diagonal(similarity, -np.inf)
    if shipped.what == "persons":
        cameras = np.array([shipped.images.scene(i).camera for i in range(len(shipped.images))])
        similarity[cameras[:, None] == cameras] = -np.inf
    nearest = similarity.argmax(1)
    wrong = np.flatnonzero(shipped.people[nearest] != shipped.people)
    assert len(wrong) > 0
    kin = [shipped.images.family(int(i)) == shipped.images.family(int(nearest[i])) for i in wrong]
    assert np.mean(kin) > 0.5


def test_hovering_a_part_finds_the_same_part(shipped):
    every = 14
    local = shipped.embedder.local_embeddings(shipped.pictures)
    cells = np.stack([part.vectors for part in local])
    rate, chance = hover_rate(shipped.images, cells, shipped.embeddings, shipped.people, every)
    assert rate > FLOORS[f"{shipped.what} hover"]
    assert rate > 3 * chance
    assert shipped.card["held_out"]["hover"] == pytest.approx(rate, abs=0.08)


def test_parts_add_up_to_the_embedding_with_no_offset(shipped):
    local = shipped.embedder.local_embeddings(shipped.pictures[17], dtype="float64")
    assert local.grid == GRIDS[shipped.what][1]
    assert not local.offset.any()
    whole = local.vectors.sum((0, 1))
    assert np.abs(whole - local.embedding).max() <= 1e-12 * np.abs(whole).max()
    assert np.abs(whole - shipped.embeddings[17]).max() <= 1e-4 * np.abs(whole).max()
    assert shipped.embedder.exact
    assert shipped.embedder.note == ""


def test_its_geometry_is_that_of_its_trunk(shipped):
    size, grid = GRIDS[shipped.what]
    embedder = shipped.embedder
    assert embedder.geometry == CellGeometry.from_trunk(embedder.trunk, size)
    assert (embedder.input_size, embedder.map_size, embedder.dim) == (size, grid, 64)
    assert embedder.name == shipped.what
    assert np.array_equal(embedder.view(shipped.pictures[0]), shipped.pictures[0])


def test_the_file_is_small_and_what_its_card_says(shipped):
    path = WEIGHTS / f"{shipped.what}.safetensors"
    assert path.stat().st_size == shipped.card["bytes"] < 400_000
    assert hashlib.sha256(path.read_bytes()).hexdigest() == shipped.card["sha256"]
    recipe = shipped.card["recipe"]
    assert recipe["what"] == shipped.what
    assert shipped.card["images_seen"] == (
        (recipe["steps"] + recipe["polish_steps"]) * recipe["classes"] * recipe["per_class"]
    )
    curve = shipped.card["loss_curve"]["loss"]
    assert curve[-1] < 0.8 * curve[0]


def test_an_unknown_embedder_is_worded():
    with pytest.raises(ValueError, match="embedders of 'faces' and of 'persons'; got 'cats'"):
        people_card("cats")


FLOORS = {
    "faces": 0.69,
    "auc": 0.98,
    "auc_of_kin": 0.80,
    "persons": 0.56,
    "faces hover": 0.90,
    "persons hover": 0.90,
}
