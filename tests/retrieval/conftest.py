"""Galleries that need no network."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # for fake_gallery, which the tests of this room share

from fake_gallery import FakeEmbedder, FakeEmbedding, coloured_images

import dmlviz.embedder
from dmlviz.retrieval import Gallery


@pytest.fixture
def embedding(monkeypatch):
    fake = FakeEmbedding()
    monkeypatch.setitem(dmlviz.embedder.__dict__, "embed_images", fake)
    return fake


@pytest.fixture
def embedder():
    return FakeEmbedder()


@pytest.fixture
def images():
    return coloured_images()


@pytest.fixture
def gallery(images, embedder):
    return Gallery(images, embedder, embedder.embed(list(images)))
