"""The drawn galleries that the docs' tables are made on, by name: nothing of them was seen in training."""

from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

Drawn = Literal["birds", "faces", "persons", "places"]
DRAWN: tuple[str, ...] = get_args(Drawn)
"""Names of the drawn galleries, in the order of the tables."""
SEED, UNSEEN_SEED = 0, 4001
"""Of the galleries on which things were tried out, and of those that played no part in any choice."""


def drawn_gallery(name: Drawn, seed: int = SEED, *, small: bool = False) -> "Gallery":
    """Draw a gallery, embedded by the network that ships with the package for it.

    - "birds": 48 species in families of 6, 20 images each; average pooling.
    - "faces": 56 people, 15 images each.
    - "persons": 48 people, two cameras; the first image of each person and camera asks, the same person from the
      same camera is left out.
    - "places": 200 places; panoramas ask, aerial views are found. Two networks.

    The pictures know their own parts (places: their objects), see `truth_of`.

    Args:
        name: Which.
        seed: Of everything in the pictures: `SEED`, or `UNSEEN_SEED` for families that played no part in any choice.
        small: A handful of pictures, for a look or a test.

    Returns:
        The gallery, in memory.

    Raises:
        ValueError: If there is none of that name.

    Examples:
        >>> drawn_gallery("birds", small=True)
        Gallery(48 images, 12 classes, 64 dimensions, cosine, embedder 'birds, avg pooling')
    """
    from dmlviz.embedder import birds_embedder, faces_embedder, persons_embedder, places_embedders
    from dmlviz.images import birds, faces, persons, places
    from dmlviz.retrieval import Gallery

    if name == "birds":
        flock = birds(families=2, per_class=4, seed=seed) if small else birds(seed=seed)
        return Gallery.build(flock, birds_embedder(), progress=False)
    if name == "faces":
        drawn = faces(people=12, per_person=4, seed=seed) if small else faces(seed=seed)
        return Gallery.build(drawn, faces_embedder(), progress=False)
    if name == "persons":
        seen = persons(people=12, per_camera=2, seed=seed) if small else persons(seed=seed)
        queries, searched = seen.queries_and_gallery()
        return Gallery.build(
            searched, persons_embedder(), queries=queries, leave_out="same-camera", progress=False
        )
    if name == "places":
        city = places(24, seed=seed) if small else places(seed=seed)
        ground, aerial = places_embedders()
        return Gallery.build(city.aerial, aerial, queries=city.ground, query_embedder=ground, progress=False)
    raise ValueError(f"there are drawn galleries {', '.join(map(repr, DRAWN))}; got {name!r}")
