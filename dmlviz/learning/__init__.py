"""Learning: how the shipped embedders and the shipped xCos head are made.

``python -m dmlviz.learning.train_birds --pooling avg --out DIR`` draws training birds as it goes, minimises the
multi-similarity loss on them, and writes float16 weights with a card beside them. ``train_generated`` does so for
faces and persons, ``train_places`` for the two views of places with the in-batch softmax loss, ``train_xcos`` for an
xCos head on the birds' trunk. Nothing here is needed to use what ships with the package.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmlviz.learning.bird_batches import BirdBatches
    from dmlviz.learning.in_batch_softmax import in_batch_softmax_loss
    from dmlviz.learning.multi_similarity import multi_similarity_loss
    from dmlviz.learning.place_recipe import PlaceRecipe
    from dmlviz.learning.train_birds import BirdRecipe, train_birds_embedder
    from dmlviz.learning.train_generated import PeopleRecipe, train_people_embedder
    from dmlviz.learning.train_places import train_places_embedders
    from dmlviz.learning.xcos_loss import arcface_logits, cosface_logits, xcos_losses
    from dmlviz.learning.xcos_training import XCosRecipe, train_xcos_head

_MODULE_OF = {
    "BirdBatches": "bird_batches",
    "BirdRecipe": "train_birds",
    "PeopleRecipe": "train_generated",
    "PlaceRecipe": "place_recipe",
    "XCosRecipe": "xcos_training",
    "arcface_logits": "xcos_loss",
    "cosface_logits": "xcos_loss",
    "in_batch_softmax_loss": "in_batch_softmax",
    "multi_similarity_loss": "multi_similarity",
    "train_birds_embedder": "train_birds",
    "train_people_embedder": "train_generated",
    "train_places_embedders": "train_places",
    "train_xcos_head": "xcos_training",
    "xcos_losses": "xcos_loss",
}

__all__ = [
    "BirdBatches",
    "BirdRecipe",
    "PeopleRecipe",
    "PlaceRecipe",
    "XCosRecipe",
    "arcface_logits",
    "cosface_logits",
    "in_batch_softmax_loss",
    "multi_similarity_loss",
    "train_birds_embedder",
    "train_people_embedder",
    "train_places_embedders",
    "train_xcos_head",
    "xcos_losses",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its file when it is first asked for."""
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(
            f"module 'dmlviz.learning' has no attribute {name!r}; it offers {', '.join(__all__)}"
        )
    value = getattr(import_module(f"dmlviz.learning.{module}"), name)
    globals()[name] = value
    return value
