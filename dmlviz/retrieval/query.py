"""What may be asked with: an image of the gallery by its id, or any other image."""

import hashlib
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from dmlviz.images import ImageSet, as_rgb, read_image
from dmlviz.images.reading import from_pillow


@dataclass(frozen=True, eq=False)
class Query:
    """A query, recognised.

    Attributes:
        id: id in the gallery; None for another image.
        image: (H, W, 3) uint8; None where the id says which image.
        key: what to remember its local embeddings under.
    """

    id: int | None
    image: np.ndarray | None
    key: int | bytes


def as_query(query: Any, images: ImageSet) -> Query:
    """Recognise a query.

    Args:
        query: image id, (H, W, 3) uint8 array, Pillow image, or path of an image file.
        images: the gallery's images.

    Raises:
        IndexError: an id that is not in the gallery.
        TypeError: none of these.
        FileNotFoundError: there is no such file.
        ValueError: an array that is not an image, or a file that cannot be read as one.
    """
    if isinstance(query, Query):
        return query
    if isinstance(query, int | np.integer) and not isinstance(query, bool | np.bool_):
        i = images.check_id(query)
        return Query(i, None, i)
    if isinstance(query, Image.Image):
        image = from_pillow(query, "the query")
    elif isinstance(query, np.ndarray):
        image = as_rgb(query, "the query")
    elif isinstance(query, str | os.PathLike):
        path = os.fsdecode(query)
        if not os.path.exists(path):
            raise FileNotFoundError(f"there is no image file at {path!r} to ask with")
        image = read_image(path)
    else:
        raise TypeError(
            "a query is an image id, a (H, W, 3) uint8 array, a Pillow image or the path of an image file; "
            f"got {type(query).__module__}.{type(query).__name__}"
        )
    content = np.ascontiguousarray(image)
    digest = hashlib.sha256(str(content.shape).encode() + content.tobytes()).digest()
    return Query(None, content, digest)
