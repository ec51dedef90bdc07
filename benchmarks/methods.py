"""What each method of explanation costs for one pair, in forward passes of one image."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.measuring import duel
from dmlviz.embedder import Embedder, birds_embedder
from dmlviz.explanation import METHODS, explain, method_named
from dmlviz.images import ImageSet, birds
from dmlviz.retrieval import Gallery

OPTIONS: dict[str, dict] = {"rise": {"masks": 100}, "corr-rise": {"masks": 100}}
"""Methods that are measured at a tenth of their usual size; their cost grows in proportion."""
BLACK_BOX = ("occlusion", "rise", "corr-rise")


@dataclass(frozen=True)
class Cost:
    """One line of the results.

    Attributes:
        method: its name, and the options it was run with.
        network: what it was run on.
        milliseconds: median time of one pair.
        passes: the same in forward passes of one image, timed in turns with it; median over the rounds.
        low, high: quartiles over the rounds.
        said: what the method itself says about its cost; or, where it was not run, why.
        rounds: how many rounds were timed; 0 where it does not suit the network.
    """

    method: str
    network: str
    milliseconds: float
    passes: float
    low: float
    high: float
    said: str
    rounds: int


def networks() -> dict[str, Embedder]:
    """The shipped network on its birds, and a larger one with random weights."""
    return {"birds": birds_embedder(), "resnet18": Embedder.from_torchvision("resnet18")}


def pairs_of(embedder: Embedder, count: int) -> Gallery:
    """A gallery that remembers nothing: pictures 0 and 1 are a pair, 2 and 3, and so on."""
    drawn = birds(families=2, per_class=2)
    images = ImageSet.from_arrays(
        [drawn[i] for i in range(2 * count)], [drawn.labels[i] for i in range(2 * count)]
    )
    embeddings = embedder.embed(images)
    return Gallery(images, embedder, embeddings, cache_bytes=0)


def one_pass(embedder: Embedder, picture: np.ndarray) -> Callable[[], object]:
    """One forward pass, trunk and head, of one picture that is prepared already."""
    inputs = torch.from_numpy(np.stack([embedder.preprocess(picture)]))
    trunk, head = embedder.trunk.eval(), embedder.head.eval()

    @torch.inference_mode()
    def forward():
        return head(trunk(inputs))

    return forward


def costs(quick: bool) -> Iterator[Cost]:
    """Every registered method on both networks, from two pictures to the result; nothing is remembered."""
    for network, embedder in networks().items():
        gallery = pairs_of(embedder, 1)
        forward = one_pass(embedder, gallery.images[0])
        for name in METHODS:
            method, options = method_named(name), OPTIONS.get(name, {})
            asked = ", ".join((name, *(f"{key} = {value}" for key, value in options.items())))
            if why := method.unsuited(gallery):
                yield Cost(asked, network, 0.0, 0.0, 0.0, 0.0, f"does not suit this network: {why}", 0)
                continue
            options = options | ({"progress": False} if name in BLACK_BOX else {})

            def once(gallery=gallery, name=name, options=options):
                return explain(gallery, 0, 1, name, **options)

            rounds = (3 if quick else 5) if name in BLACK_BOX else (5 if quick else 21)
            found = duel(asked, "", once, forward, rounds=rounds)
            yield Cost(
                asked, network, found.ours_ms, found.ratio, found.low, found.high, method.cost, found.rounds
            )
