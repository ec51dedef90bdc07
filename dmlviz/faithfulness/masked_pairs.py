"""The real similarity of two images of which only some cells are kept: what predictions are held against."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from dmlviz.embedder import CellGeometry, embed_kept_cells, half_pixel
from dmlviz.explanation import Decomposition, Side
from dmlviz.explanation.masked_views import embed_covered
from dmlviz.explanation.options import one_of, whole_number
from dmlviz.faithfulness.map_pixels import geometry_of

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

Level = Literal["pixels", "features"]
LEVELS: tuple[str, ...] = get_args(Level)
Covered = Literal["query", "gallery", "both"]
COVERED: tuple[str, ...] = get_args(Covered)


@dataclass(frozen=True, eq=False)
class KeptCells:
    """Masks over the pixels of a view that keep chosen cells, each with the pixels nearest to its centre.

    Attributes:
        view: (H, W) in pixels.
        cells: (B, h, w) bool; True is kept.
        geometry: Where the cells lie on the view; None for the half-pixel rule. A pixel midway between two centres
            belongs to the upper or left one; pixels beyond the outermost centres belong to the outermost cells.
    """

    view: tuple[int, int]
    cells: np.ndarray
    geometry: CellGeometry | None

    def __len__(self) -> int:
        return len(self.cells)

    def keep(self, start: int, stop: int) -> np.ndarray:
        """(B, H, W) float32, 1 on the pixels of kept cells and 0 elsewhere."""
        grid = self.cells.shape[1:]
        where = self.geometry or half_pixel(self.view, (grid[0], grid[1]))
        at = where.cell_of_pixel(np.arange(self.view[0]), np.arange(self.view[1]))
        rows, cols = (
            np.clip(np.ceil(np.round(a, 9) - 0.5), 0, n - 1).astype(np.int64)
            for a, n in zip(at, grid, strict=True)
        )
        return np.asarray(self.cells[start:stop, rows][:, :, cols], dtype=np.float32)


@dataclass
class MaskedPairs:
    """Runs the network on a gallery's images with cells taken away; asked for the same again, it remembers.

    Attributes:
        gallery: The gallery.
        level: "pixels": the pixels of these cells are covered and the network sees the picture; "features": the
            cells of the last feature map are set to zero, and the head sees what is left.
        fill: What pixels are covered by, as for the black-box methods: "mean", "grey", "blur" or a colour.
        batch_size: Pictures, or masked feature maps, per forward pass.
    """

    gallery: "Gallery"
    level: Level = "pixels"
    fill: Any = "mean"
    batch_size: int = 64
    _known: dict[Any, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one_of(self.level, "level", LEVELS)
        whole_number(self.batch_size, "batch_size", 1)

    def embeddings(self, side: Side, i: int, why: Decomposition, cells: np.ndarray) -> np.ndarray:
        """Embed an image with only some of its cells.

        Args:
            side: Whose image: "query" or "gallery".
            i: Its id.
            why: An explanation of it, whose cells are meant.
            cells: (B, h, w) bool over that side's map; True is kept.

        Returns:
            (B, D) float64, not normalised.

        Raises:
            ValueError: If features are asked for and the explanation's cells are not those of the last feature map.
        """
        of_query = side == "query"
        embedder = self.gallery.query_embedder if of_query else self.gallery.embedder
        picture = self.gallery.query_image(i) if of_query else self.gallery.image(i)
        if self.level == "features":
            if cells.shape[1:] != embedder.map_size:
                raise ValueError(
                    f"at level='features' cells of the last feature map are taken away, {_by(embedder.map_size)}; "
                    f"the maps of {why.method!r} have {_by(cells.shape[1:])} cells. Use level='pixels'"
                )
            return embed_kept_cells(embedder, picture, cells, self.batch_size).astype(np.float64)
        view = embedder.view(picture)
        masks = KeptCells((view.shape[0], view.shape[1]), cells, geometry_of(why, side))
        return embed_covered(embedder, view, masks, self.fill, self.batch_size, lambda _: None)

    def similarities(
        self,
        why: Decomposition,
        query: int,
        item: int,
        of_query: np.ndarray | None = None,
        of_gallery: np.ndarray | None = None,
    ) -> np.ndarray:
        """The real similarity of a pair under N masks of its cells: it does not depend on the method.

        Args:
            why: The pair's explanation, whose cells are meant.
            query: The query's id.
            item: The gallery image's id.
            of_query: (N, hq, wq) bool, True for cells that are kept; None: the query is whole.
            of_gallery: (N, hg, wg) bool, the same of the gallery image.

        Returns:
            (N,) float64, of the gallery's similarity; NaN where a cosine is undefined.
        """
        kept = [
            None if of is None else (of.shape, np.packbits(of).tobytes()) for of in (of_query, of_gallery)
        ]
        key = (query, item, *kept, why.query_geometry, why.gallery_geometry)
        if key not in self._known:
            asked = self.gallery.query_embedding(query)[None].astype(np.float64)
            given = self.gallery.embeddings[[item]].astype(np.float64)
            if of_query is not None:
                asked = self.embeddings("query", query, why, of_query)
            if of_gallery is not None:
                given = self.embeddings("gallery", item, why, of_gallery)
            self._known[key] = paired(asked, given, self.gallery.similarity)
        return self._known[key]


def paired(queries: np.ndarray, items: np.ndarray, kind: str) -> np.ndarray:
    """The similarity of embeddings row by row.

    Args:
        queries: (N, D), or (1, D) for one and the same.
        items: (N, D), or (1, D).
        kind: "cosine", "dot" or "l2", minus the squared distance.

    Returns:
        (N,) float64; NaN where a cosine is undefined, because an embedding has length zero.

    Examples:
        >>> import numpy as np
        >>> paired(np.array([[3.0, 4.0]]), np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]]), "cosine").tolist()
        [0.6, 0.8, nan]
    """
    if kind == "l2":
        return np.asarray(-np.square(queries - items).sum(1))
    products = (queries * items).sum(1)
    if kind == "dot":
        return np.asarray(products)
    lengths = np.linalg.norm(queries, axis=1) * np.linalg.norm(items, axis=1)
    return np.divide(products, lengths, out=np.full_like(products, np.nan), where=lengths > 0)


def _by(size: tuple[int, ...]) -> str:
    return f"{size[0]} × {size[1]}"
