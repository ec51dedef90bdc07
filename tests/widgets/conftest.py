"""Widgets made for a test are closed after it."""

import sys
from pathlib import Path

import ipywidgets
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from small_gallery import SmallGallery


@pytest.fixture(autouse=True)
def closed_widgets():
    yield
    ipywidgets.Widget.close_all()


@pytest.fixture
def small():
    return SmallGallery()
