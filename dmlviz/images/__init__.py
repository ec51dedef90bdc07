"""Images: sets of pictures in a fixed order, read the same way from wherever they lie.

An `ImageSet` is a list of pictures; an image's id is its position. It is made from a folder, from
arrays, from a data frame of paths, from a torchvision or a Hugging Face dataset, or drawn by `birds`,
the gallery that ships with the package, by `faces`, `persons` or `places` (in two views). Every picture
arrives as a (H, W, 3) array of uint8. `Preprocess` turns such a picture into what a network is fed, with
NumPy and Pillow only, and knows which pixel of the picture became which pixel of the network's view.

This room imports neither torch nor torchvision, and nothing else of dmlviz.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dmlviz.images.image_set import ImageSet
from dmlviz.images.preprocess import Preprocess
from dmlviz.images.reading import ImageReadError, as_rgb, read_image

if TYPE_CHECKING:
    from dmlviz.images.bird_gallery import BirdSet, birds
    from dmlviz.images.face_gallery import FacePairs, FaceSet, faces
    from dmlviz.images.layouts import lfw_pairs, oxford_queries
    from dmlviz.images.person_gallery import PersonSet, persons
    from dmlviz.images.place_gallery import Places, places
    from dmlviz.images.place_view import PlaceView

__all__ = [
    "BirdSet",
    "FacePairs",
    "FaceSet",
    "ImageReadError",
    "ImageSet",
    "PersonSet",
    "PlaceView",
    "Places",
    "Preprocess",
    "as_rgb",
    "birds",
    "faces",
    "lfw_pairs",
    "oxford_queries",
    "persons",
    "places",
    "read_image",
]

_MODULE_OF = {
    "BirdSet": "bird_gallery",
    "FacePairs": "face_gallery",
    "FaceSet": "face_gallery",
    "PersonSet": "person_gallery",
    "PlaceView": "place_view",
    "Places": "place_gallery",
    "birds": "bird_gallery",
    "faces": "face_gallery",
    "lfw_pairs": "layouts",
    "oxford_queries": "layouts",
    "persons": "person_gallery",
    "places": "place_gallery",
}


def __getattr__(name: str) -> Any:
    """Load the drawn galleries when they are first asked for."""
    if name not in _MODULE_OF:
        raise AttributeError(
            f"module 'dmlviz.images' has no attribute {name!r}; it offers {', '.join(__all__)}"
        )
    value = getattr(import_module(f"dmlviz.images.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value
