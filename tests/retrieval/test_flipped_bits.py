"""One bit of a gallery's files flips: refused where it is checked, and where it is not no process ends or hangs."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "index"))  # for faulty

from fake_gallery import FakeEmbedder, coloured_images
from faulty import forked

from dmlviz.retrieval import Gallery, GalleryError
from dmlviz.retrieval.stored_gallery import NAMES, SIDECAR, check_of, sha256_of

pytestmark = [
    pytest.mark.usefixtures("embedding"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]
LARGE = {"embeddings.npy", "query_embeddings.npy", "index.faiss"}
HEADER = 128  # bytes before the numbers of a .npy file


@pytest.fixture
def kept(tmp_path, images, embedder):
    """A gallery's folder, and how to open it."""
    asking = {"queries": coloured_images(5, 2, seed=3), "query_embedder": FakeEmbedder(3, "ground")}
    Gallery.build(images, embedder, tmp_path / "g", progress=False, **asking)
    return tmp_path / "g", lambda mapped: Gallery.open(
        tmp_path / "g", embedder, images, **asking, mapped=mapped
    )


def flip(file, content, at, bit):
    changed = bytearray(content)
    changed[at] ^= 1 << bit
    file.unlink(missing_ok=True)  # an earlier one may be mapped still
    file.write_bytes(changed)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("name", [SIDECAR, *NAMES.values()])
def test_a_flip_is_refused_where_it_is_checked(kept, name, mapped):
    path, opened = kept
    content = (path / name).read_bytes()
    random = np.random.default_rng(0)
    unchecked = mapped and name in LARGE

    def open_and_ask():
        answered = 0
        places = random.integers(0, len(content), 60).tolist() + list(range(0, min(HEADER, len(content)), 2))
        for at in places:
            flip(path / name, content, at, int(random.integers(8)))
            print(name, at, file=sys.stderr, flush=True)  # what came last, should this end here
            signal.alarm(30)
            try:
                gallery = opened(mapped)
            except GalleryError as error:
                if len(str(error)) < 40:
                    raise AssertionError(f"refused without words: {error!r}") from error
            else:
                answered += 1
                assert unchecked, (name, at)
                for query in range(5):
                    try:
                        assert len(gallery.search(query, 4)) <= 4
                    except ValueError as error:
                        if "must be finite" not in str(error):
                            raise
            signal.alarm(0)
        assert (answered > 0) == (unchecked and name.endswith(".npy")), answered

    assert forked(open_and_ask)
    flip(path / name, content, 0, 0)
    (path / name).write_bytes(content)
    assert len(opened(mapped)) == 24


def test_a_flipped_embedding_stays_where_it_is_when_mapped(kept, images):
    path, opened = kept
    whole = opened(False)
    content = (path / "embeddings.npy").read_bytes()
    flip(path / "embeddings.npy", content, HEADER + 4 * 5 * 7 + 2, 3)
    found = opened(True)
    assert np.flatnonzero((found.embeddings != whole.embeddings).any(axis=1)).tolist() == [7]
    assert (
        found.search(0, 23).ids.tolist() == whole.search(0, 23).ids.tolist()
    )  # rows are ranked by the index's own


# --- files of which sidecar and checksums speak well --------------------------------------------------------------


def say_it_is_so(path, name):
    """Let the sidecar vouch for a file as it is now, as someone who means harm would."""
    sidecar = json.loads((path / SIDECAR).read_text())
    del sidecar["check"]
    sidecar["bytes"][name] = (path / name).stat().st_size
    sidecar["sha256"][name] = sha256_of(path / name)
    (path / SIDECAR).write_text(json.dumps(sidecar | {"check": check_of(sidecar)}))


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("name", ["images.arrow", "queries.arrow", "embeddings.npy", "lengths.npy"])
def test_what_the_sidecar_vouches_for_is_looked_at_all_the_same(kept, name, mapped):
    path, opened = kept
    content = (path / name).read_bytes()

    def open_all():
        random = np.random.default_rng(1)
        refused = 0
        for _ in range(120):
            at = int(random.integers(0, len(content)))
            if random.integers(4):
                flip(path / name, content, at, int(random.integers(8)))
            else:
                (path / name).unlink()
                (path / name).write_bytes(content[:at])
            say_it_is_so(path, name)
            print(name, at, file=sys.stderr, flush=True)
            signal.alarm(30)
            try:
                opened(mapped).search(0, 3)
            except (GalleryError, UserWarning):
                refused += 1
            except ValueError as error:  # numbers that are none, or a query of length zero
                assert "NaN" in str(error) or "zero" in str(error) or "finite" in str(error)  # noqa: PT017
                refused += 1
            signal.alarm(0)
        assert refused > 20, refused

    assert forked(open_all)


@pytest.mark.parametrize(
    "name", ["..", ".", "", "../g/images.arrow", "/etc/passwd", "a\0b", "a\\b", "folder"]
)
def test_names_that_lead_elsewhere_are_refused(kept, tmp_path, name):
    path, opened = kept
    (path / "folder").mkdir()
    sidecar = json.loads((path / SIDECAR).read_text())
    del sidecar["check"]
    sidecar["files"]["images"] = name
    for said in ("bytes", "sha256"):
        sidecar[said][name] = sidecar[said]["images.arrow"]
    if name == "folder":
        del sidecar["bytes"]
    (path / SIDECAR).write_text(json.dumps(sidecar | {"check": check_of(sidecar)}))
    with pytest.raises(GalleryError, match=r"a name of a file|folder in .*g is no file"):
        opened(False)


def test_writing_over_a_gallery_removes_nothing_outside(kept, tmp_path, images, embedder):
    path, _ = kept
    (tmp_path / "mine.txt").write_text("mine")
    sidecar = json.loads((path / SIDECAR).read_text())
    del sidecar["check"]
    sidecar["sha256"]["../mine.txt"] = sidecar["bytes"]["../mine.txt"] = 0
    sidecar["sha256"][str(tmp_path / "mine.txt")] = 0
    (path / SIDECAR).write_text(json.dumps(sidecar | {"check": check_of(sidecar)}))
    Gallery(images, embedder, embedder.embed(list(images))).save(path)
    assert (tmp_path / "mine.txt").read_text() == "mine"
    shutil.rmtree(path)
