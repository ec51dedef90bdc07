"""A gallery on disk that is extended, mended or made by another network, by writers that are killed at every step."""

import json
import os
import shutil
import sys
from functools import partial
from pathlib import Path

import click
import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "index"))  # for faulty

from fake_gallery import FakeEmbedder, coloured_images
from faulty import forked

from dmlviz.cli.model_file import Model, read_model
from dmlviz.retrieval import Gallery, GalleryError
from dmlviz.retrieval.storage import SIDECAR

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


@pytest.mark.parametrize("mapped", [False, True])
def test_killed_at_every_step_of_extending(tmp_path, embedding, images, embedder, mapped):
    path = tmp_path / "g"
    asking = {"queries": coloured_images(3, 2, seed=4)} if mapped else {}
    few, more = images.subset(range(6)), images.subset(range(6, 8))
    images = images.subset(range(8))
    small = Gallery.build(few, embedder, path, progress=False, **asking)
    shutil.copytree(path, tmp_path / "small")
    whole = Gallery.build(images, embedder, progress=False, **asking)
    ended, step, seen = False, 0, []
    while not ended:
        step += 1
        if seen[-1:] != [6]:
            shutil.rmtree(path)
            shutil.copytree(tmp_path / "small", path)
        opened = Gallery.open(path, embedder, few, **asking, mapped=mapped)
        extend = partial(opened.extended, more, path, progress=False)
        ended = forked(extend, kill_before=step)
        seen.append(json.loads((path / SIDECAR).read_text())["count"])
        after = Gallery.open(path, embedder, few if seen[-1] == 6 else images, **asking)
        same_answers(after, small if seen[-1] == 6 else whole)
        same_answers(opened, small)  # though its files may have gone
    assert step > 15
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (6, 8)
    assert not (tmp_path / "g.unfinished").exists()


def same_answers(left, right):
    np.testing.assert_array_equal(left.embeddings, right.embeddings)
    np.testing.assert_array_equal(left.query_embeddings, right.query_embeddings)
    assert (left.images.names, left.queries.names) == (right.images.names, right.queries.names)
    for query in range(len(left.queries)):
        assert left.search(query, 30).ids.tolist() == right.search(query, 30).ids.tolist()


def test_killed_at_every_step_of_building_over_a_broken_one(tmp_path, embedding, images, embedder):
    """The older one cannot be opened; whenever the builder dies, the next call has a gallery."""
    path = tmp_path / "g"
    images = images.subset(range(2))
    whole = Gallery.build(images, embedder, tmp_path / "whole", progress=False)
    ended, step, opens = False, 0, []
    while not ended:
        step += 1
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(tmp_path / "whole", path)
        (path / "embeddings.npy").write_bytes(b"broken")
        ended = forked(lambda: Gallery.build(images, embedder, path, progress=False), kill_before=step)
        try:
            opened = Gallery.open(path, embedder, images)
        except GalleryError:
            opens.append(False)
            opened = Gallery.build(images, embedder, path, progress=False)
        else:
            opens.append(True)
        same_answers(opened, whole)
    assert step > 15
    assert opens == sorted(opens)
    assert (opens[0], opens[-1]) == (False, True)


def test_a_note_of_a_network_is_never_taken_for_another_ones(tmp_path, images, embedder):
    path, other = tmp_path / "g", FakeEmbedder(1, "other")
    images = images.subset(range(4))
    older, newer = (Gallery(images, one, one.embed(list(images))) for one in (embedder, other))
    note = Model("resnet18", "random")
    ended, step, seen = False, 0, []
    while not ended:
        step += 1
        shutil.rmtree(path, ignore_errors=True)
        older.save(path)
        note.write(path, embedder.fingerprint)
        ended = forked(lambda: newer.save(path), kill_before=step)
        made_by = json.loads((path / SIDECAR).read_text())["embedder"]["fingerprint"]
        try:
            assert read_model(path) == note
            seen.append("noted")
        except click.ClickException as error:
            seen.append("of another" if "lay there before" in error.message else "none")
        assert (seen[-1] == "noted") == (made_by == embedder.fingerprint)
    assert list(dict.fromkeys(seen)) == ["noted", "of another", "none"]
