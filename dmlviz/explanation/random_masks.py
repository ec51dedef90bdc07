"""Random masks over a view: small random grids, enlarged smoothly and shifted (Petsiuk, Das, Saenko 2018, §3.2)."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class RandomMasks:
    """N smooth random masks.

    A grid of zeros and ones, enlarged bilinearly to one tile more than the view in each direction, from which a
    piece of the size of the view is cut at a random place. With `tile = ceil(H / rows)` a mask pixel p lies at
    `(p + shift + 0.5)·rows / ((rows + 1)·tile) − 0.5` on the grid, whose edge is repeated.

    Attributes:
        view: (H, W) in pixels.
        grids: (N, rows, cols) bool; True is kept.
        shifts: (N, 2) int64, rows and columns, from 0 to one less than a tile.
    """

    view: tuple[int, int]
    grids: np.ndarray
    shifts: np.ndarray

    @classmethod
    def draw(
        cls, view: tuple[int, int], count: int, grid: tuple[int, int], keep: float, seed: int
    ) -> "RandomMasks":
        """Draw them; the first n of a larger count are the same masks.

        Args:
            view: (H, W) in pixels.
            count: N.
            grid: (rows, cols).
            keep: Chance that a tile of the grid is kept.
            seed: Of the random numbers.
        """
        of_grids, of_shifts = (np.random.default_rng([seed, stream]) for stream in (0, 1))
        tiles = [-(-size // n) for size, n in zip(view, grid, strict=True)]
        return cls(
            view,
            of_grids.random((count, *grid)) < keep,
            of_shifts.integers(0, tiles, size=(count, 2)),
        )

    def __len__(self) -> int:
        return len(self.grids)

    def keep(self, start: int, stop: int) -> np.ndarray:
        """(B, H, W) float32 from 0 (covered) to 1 (kept)."""
        down, across = (
            _weights(self.view[axis], self.grids.shape[1 + axis], self.shifts[start:stop, axis])
            for axis in (0, 1)
        )
        return np.asarray(down @ self.grids[start:stop].astype(np.float32) @ across.transpose(0, 2, 1))


def _weights(size: int, tiles: int, shifts: np.ndarray) -> np.ndarray:
    """(B, size, tiles) float32: how each pixel mixes its two nearest grid values along one axis."""
    enlarged = (tiles + 1) * -(-size // tiles)
    place = (shifts[:, None] + np.arange(size) + 0.5) * tiles / enlarged - 0.5
    place = place.clip(0, tiles - 1)
    below = np.minimum(place.astype(np.int64), max(tiles - 2, 0))
    share = place - below
    found = np.zeros((*place.shape, tiles), dtype=np.float32)
    np.put_along_axis(found, below[..., None], (1 - share)[..., None], axis=2)
    if tiles > 1:
        np.put_along_axis(found, below[..., None] + 1, share[..., None], axis=2)
    return found
