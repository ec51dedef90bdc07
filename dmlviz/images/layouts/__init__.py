"""Folders as the data sets of papers unpack, one module each.

Each reader gives one row per image in a data frame of paths, which `dmlviz.images.frame` turns into an image set; the
doors are the constructors of `ImageSet`. Nothing is downloaded. No path in a list may lead out of the data set's
folder, and a line that is wrong is named by its number.
"""

from dmlviz.images.layouts.lfw import lfw_pairs
from dmlviz.images.layouts.oxford import oxford_queries

__all__ = ["lfw_pairs", "oxford_queries"]
