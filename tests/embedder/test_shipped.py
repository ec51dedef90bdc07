import hashlib
import json
import shutil

import numpy as np
import pytest
import torch

from dmlviz.embedder import BirdNet, CellGeometry, birds_embedder
from dmlviz.embedder.shipped import WEIGHTS, birds_card, read_embedder
from dmlviz.images import birds
from dmlviz.learning.bird_export import embed_birds, recall_at

POOLINGS = ("avg", "max")


@pytest.fixture(scope="module")
def flock():
    return birds()


@pytest.fixture(scope="module")
def pictures(flock):
    return np.stack(list(flock))


@pytest.fixture(scope="module", params=POOLINGS)
def shipped(request, pictures):
    """Pooling, embedder, and its embeddings of the default gallery."""
    embedder = birds_embedder(request.param)
    return request.param, embedder, embedder.embed(list(pictures))


def test_recall_on_species_never_seen(shipped, flock):
    pooling, _, embeddings = shipped
    found = recall_at(embeddings, flock.labels)
    assert found[1] >= 0.95
    card = birds_card(pooling)["held_out"]["recall"]
    assert {f"@{k}": share for k, share in found.items()} == pytest.approx(card, abs=0.004)


def test_an_untrained_network_finds_next_to_nothing(flock, pictures):
    torch.manual_seed(0)
    chance = 19 / 959
    assert chance - 0.02 < recall_at(embed_birds(BirdNet().eval(), pictures), flock.labels)[1] < 0.10
    for pooling in POOLINGS:
        assert birds_card(pooling)["held_out"]["recall_of_the_untrained_network"]["@1"] < 0.10


def test_the_wrong_ones_are_of_the_right_family(shipped, flock):
    _, _, embeddings = shipped
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    nearest = similarity.argmax(1)
    wrong = np.flatnonzero(flock.labels[nearest] != flock.labels)
    assert len(wrong) > 0  # a gallery without a miss would teach nothing
    assert np.mean([flock.family(int(i)) == flock.family(int(nearest[i])) for i in wrong]) > 0.9


def test_parts_add_up_to_the_embedding_with_no_offset(shipped, pictures):
    _, embedder, embeddings = shipped
    local = embedder.local_embeddings(pictures[17])
    assert local.grid == (12, 12)
    assert not local.offset.any()
    assert np.abs(local.embedding - embeddings[17]).max() <= 1e-5 * np.abs(embeddings[17]).max()
    assert embedder.exact
    assert embedder.note == ""


def test_its_geometry_is_that_of_its_trunk(shipped):
    _, embedder, _ = shipped
    assert embedder.geometry == CellGeometry.from_trunk(embedder.trunk, (96, 96))
    assert embedder.input_size == (96, 96)
    assert embedder.map_size == (12, 12)
    assert embedder.dim == 64


def test_the_view_is_the_picture_itself(shipped, pictures):
    assert np.array_equal(shipped[1].view(pictures[0]), pictures[0])


def test_the_files_are_small_and_what_their_cards_say():
    size = 0
    for pooling in POOLINGS:
        path, card = WEIGHTS / f"birds_{pooling}.safetensors", birds_card(pooling)
        size += path.stat().st_size
        assert card["bytes"] == path.stat().st_size
        assert card["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert card["recipe"]["pooling"] == pooling
        assert card["images_seen"] == (card["recipe"]["steps"] + card["recipe"]["polish_steps"]) * 96
        curve = card["loss_curve"]["loss"]
        assert curve[-1] < 0.7 * curve[0]
    assert size < 900_000


def test_hovering_a_part_finds_the_same_part(flock, pictures):
    """The cell with most of a part, on a query and on its nearest of the same species: contribution, area."""
    embedder = birds_embedder()
    embeddings = embedder.embed(list(pictures))
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    hits, areas = [], []
    for query in range(0, 960, 12):
        others = np.flatnonzero((flock.labels == flock.labels[query]) & (np.arange(960) != query))
        match = int(others[(unit[others] @ unit[query]).argmax()])
        local = embedder.local_embeddings([pictures[query], pictures[match]])
        for part in flock.parts:
            here, there = flock.mask(query, part), flock.mask(match, part)
            if here.sum() < 8 or there.sum() < 8:
                continue
            row, col = np.unravel_index(here.reshape(12, 8, 12, 8).sum((1, 3)).argmax(), (12, 12))
            shares = local[1].vectors @ local[0].vectors[row, col]
            i, j = np.unravel_index(shares.argmax(), (12, 12))
            hits.append(there[8 * i + 1 : 8 * i + 7, 8 * j + 1 : 8 * j + 7].any())
            areas.append(there.mean())
    assert np.mean(hits) >= 0.85
    assert np.mean(areas) < 0.06


def test_an_unknown_pooling_is_worded():
    for call in (birds_embedder, birds_card):
        with pytest.raises(ValueError, match="pool by 'avg' or 'max'; got 'gem'"):
            call("gem")


def test_weights_that_are_not_the_cards_are_refused(tmp_path):
    for suffix in (".safetensors", ".json"):
        shutil.copy(WEIGHTS / f"birds_avg{suffix}", tmp_path)
    path = tmp_path / "birds_avg.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        ValueError, match=r"not the ones its card describes: expected sha256 .* Install the package"
    ):
        read_embedder(path)
    path.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"birds_avg.safetensors are missing. Install the package again"
    ):
        read_embedder(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"birds_avg.json is missing, and with it the weights' checksum"
    ):
        read_embedder(path)


def test_a_broken_card_is_named(tmp_path):
    shutil.copy(WEIGHTS / "birds_avg.safetensors", tmp_path)
    for text in ("{", json.dumps({"sha256": "0"})):
        (tmp_path / "birds_avg.json").write_text(text)
        with pytest.raises(ValueError, match=r"birds_avg.json is not a whole card"):
            read_embedder(tmp_path / "birds_avg.safetensors")
