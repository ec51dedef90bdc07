"""Linear maps of embeddings before they are indexed: PCA, whitening, and the root of a Mahalanobis metric."""

import os
import struct
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dmlviz.index.checks import as_float32, as_rows
from dmlviz.index.sealed_files import replacing

_ROWS_AT_ONCE = 8192
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_UNREADABLE = (
    KeyError,
    ValueError,
    TypeError,
    EOFError,
    AttributeError,
    NotImplementedError,
    OSError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)


@dataclass(frozen=True, eq=False)
class LinearMap:
    """y = matrix · x + bias.

    Gallery and queries must go through the same map. Map rows first and index what comes out: then the index, its
    similarities and its files know nothing of the map, and the distance between mapped rows is the one that the map
    was made for.

    Attributes:
        matrix: (D', D) float32, finite, read-only.
        bias: (D',) float64, finite, read-only. In double precision, as it takes off a mean that may be far larger
            than what is left.

    Example:
        >>> half = LinearMap(np.array([[0.5, 0.0]]), np.array([1.0]))
        >>> half.apply([[4.0, 7.0]])
        array([[3.]], dtype=float32)
    """

    matrix: np.ndarray
    bias: np.ndarray

    def __post_init__(self) -> None:
        """Check and keep copies of the numbers.

        Raises:
            TypeError: No numbers.
            ValueError: Shapes do not fit, or NaN or infinity.
        """
        matrix = as_float32(_matrix(self.matrix, "matrix"), "the matrix").copy()
        bias = np.array(as_rows(self.bias, "bias"), dtype=np.float64)
        if bias.shape != (len(matrix),) or not np.isfinite(bias).all():
            raise ValueError(
                f"bias must be {len(matrix)} finite numbers, one per row of the matrix; got shape {bias.shape}"
            )
        matrix.flags.writeable = bias.flags.writeable = False
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "bias", bias)

    @property
    def dim(self) -> int:
        """D, the dimensions of the rows that it takes."""
        return int(self.matrix.shape[1])

    @property
    def out_dim(self) -> int:
        """D', the dimensions of the rows that it gives."""
        return int(self.matrix.shape[0])

    def __repr__(self) -> str:
        return f"LinearMap({self.dim} → {self.out_dim} dimensions)"

    def apply(self, rows: Any) -> np.ndarray:
        """Map rows.

        Args:
            rows: (N, D) finite numbers, or (D,) for one.

        Returns:
            (N, D') or (D',) float32, computed in float64 and rounded once. The order of the additions is the matrix
            product's: a row alone and in a batch may differ in the last digit.

        Raises:
            TypeError: The rows are no numbers.
            ValueError: Another shape, NaN or infinity, or results beyond float32.
        """
        array = as_rows(rows, "rows")
        if array.ndim not in (1, 2) or array.shape[-1] != self.dim:
            raise ValueError(
                f"rows must have the shape (N, {self.dim}) or ({self.dim},) for this map, got {array.shape}"
            )
        given = np.atleast_2d(array)
        mapped = np.empty((len(given), self.out_dim), dtype=np.float32)
        matrix = self.matrix.astype(np.float64)
        for start in range(0, len(given), _ROWS_AT_ONCE):
            block = _in_double(given[start : start + _ROWS_AT_ONCE], "rows", first=start)
            values = block @ matrix.T + self.bias
            if np.abs(values).max(initial=0) > _FLOAT32_MAX:
                raise ValueError(
                    "mapped rows would not fit float32 (beyond 3.4e38); scale the rows or the matrix down"
                )
            mapped[start : start + _ROWS_AT_ONCE] = values
        return mapped[0] if array.ndim == 1 else mapped

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the map to one .npz file, whole or not at all.

        Args:
            path: The file to write, under exactly this name; an older file is replaced.

        Raises:
            FileNotFoundError: The folder does not exist.
            IsADirectoryError: The path is a folder.
            OSError: The disk is full, say; the older file stays.
        """
        with replacing(path, "a map") as part, open(part, "wb") as file:
            np.savez(file, matrix=self.matrix, bias=self.bias)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "LinearMap":
        """Read a map that `save` wrote. Nothing in the file is run: it holds numbers only.

        Args:
            path: The file.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The file is cut short, was changed, or is no map.
        """
        source = Path(os.fsdecode(path))
        if not source.is_file():
            raise FileNotFoundError(f"there is no map file at {source}")
        with open(source, "rb") as file:
            try:
                with np.load(file, allow_pickle=False) as held:
                    return cls(held["matrix"], held["bias"])
            except _UNREADABLE as error:
                raise ValueError(
                    f"{source} cannot be read as a map: it is cut short, was changed, or is another kind of file"
                ) from error


def pca(fit_on: Any, dim: int | None = None, *, whiten: bool = False) -> LinearMap:
    """Principal components of rows, and whitening.

    The map takes off the mean of `fit_on` and turns rows to the directions in which `fit_on` varies most, largest
    first; with `whiten` each is divided by its standard deviation, so that over `fit_on` every component has variance
    1 (divisor N − 1) and no two are correlated. FAISS's PCAMatrix leaves 1/√N in the place of that 1. The sign of a
    direction is arbitrary: here its largest component is positive.

    Fit it on another set than the one that is searched where a paper does: whitening learned on Paris6k for
    Oxford5k and the other way round (Jégou and Chum, Negative evidences and co-occurrences in image retrieval: the
    benefit of PCA and whitening, ECCV 2012; there rows are brought to length one again afterwards, which is left to
    you).

    Args:
        fit_on: (N, D) finite numbers, more rows than dimensions.
        dim: D', how many directions to keep; all D by default.
        whiten: Whether to divide by standard deviations.

    Returns:
        A map from D to D' dimensions.

    Raises:
        TypeError: The rows are no numbers, or dim no whole number.
        ValueError: Another shape, NaN or infinity; no more rows than dimensions; dim not from 1 to D; a direction to
            be whitened in which the rows do not vary.

    Example:
        >>> rows = np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])
        >>> pca(rows, 1).apply(rows).tolist()
        [[-5.0], [0.0], [5.0]]
    """
    rows = _matrix(fit_on, "fit_on")
    kept = _as_dim(dim, rows.shape[1])
    _enough(len(rows), rows.shape[1], "rows")
    mean = _mean(rows)
    variances, directions = _principal(_scatter(rows, mean) / (len(rows) - 1))
    matrix = directions[:kept]
    if whiten:
        matrix = matrix / _deviations(variances, kept)[:, None]
    return _centred_map(matrix, mean)


def mahalanobis(matrix: Any = None, *, factor: Any = None) -> LinearMap:
    """A map after which the plain distance is a Mahalanobis distance.

    With M = LLᵀ, (x − y)ᵀM(x − y) = ‖Lᵀx − Lᵀy‖²: index the mapped rows with metric="l2". Give M, whose root is taken
    from its eigenvalues (its rank R may be below D; that many dimensions come out), or L itself.

    Args:
        matrix: M, (D, D), symmetric and positive semi-definite.
        factor: L, (D, R).

    Returns:
        A map from D to R dimensions without a bias.

    Raises:
        TypeError: No numbers, or not exactly one of the two given.
        ValueError: Another shape, NaN or infinity; M is not symmetric, has a negative eigenvalue, or is zero.

    Example:
        >>> mahalanobis([[4.0, 0.0], [0.0, 9.0]]).apply([[1.0, 1.0]]).tolist()
        [[3.0, 2.0]]
    """
    if (matrix is None) == (factor is None):
        raise TypeError("give either matrix= (M) or factor= (L, with M = LLᵀ)")
    if factor is not None:
        root = _in_double(_matrix(factor, "factor"), "factor").T
        return LinearMap(root, np.zeros(len(root)))
    given = _matrix(matrix, "matrix")
    if given.shape[0] != given.shape[1]:
        raise ValueError(f"matrix must be square, got {given.shape}")
    metric = _in_double(given, "matrix")
    largest = float(np.abs(metric).max())
    if largest == 0:
        raise ValueError("matrix is zero: everything would be at a distance of 0 from everything")
    precision = np.finfo(given.dtype).eps if given.dtype.kind == "f" else np.finfo(np.float64).eps
    room = max(float(precision), 1e-12) * len(metric) * largest
    apart = np.abs(metric - metric.T)
    if apart.max() > room:
        row, column = np.unravel_index(int(apart.argmax()), apart.shape)
        raise ValueError(
            f"matrix must be symmetric; [{row}, {column}] is {metric[row, column]:g}, and [{column}, {row}] is "
            f"{metric[column, row]:g}. For a map x → Lᵀx give factor=L"
        )
    values, directions = _principal((metric + metric.T) / 2)
    if values[-1] < -room:
        raise ValueError(
            f"matrix must be positive semi-definite; its smallest eigenvalue is {values[-1]:g}, so that some squared "
            "distances would be negative"
        )
    rank = int((values > room).sum())
    return LinearMap(directions[:rank] * np.sqrt(values[:rank])[:, None], np.zeros(rank))


def learned_whitening(rows: Any, pairs: Iterable[Any], dim: int | None = None) -> LinearMap:
    """Whitening learned from pairs that should match.

    Known as Lw (Mikolajczyk and Matas, Improving descriptors for fast tree matching by optimal linear projection,
    ICCV 2007; Radenović, Tolias and Chum, Fine-tuning CNN image retrieval with no human annotation, TPAMI 2019).

    With the covariance of the differences of matching pairs C = Σ (x − y)(x − y)ᵀ / P and its Cholesky factor L,
    rows are first mapped by L⁻¹, after which matching rows differ by 1 in every direction; then turned to the
    directions in which all rows vary most. As in the authors' code (cirtorch), the mean that is taken off is that
    of the first rows of the pairs, and the scatter of all rows stands for that of pairs that do not match.
    Rows are brought to length one afterwards there; that is left to you.

    Args:
        rows: (N, D) finite numbers.
        pairs: (P, 2) whole numbers, rows that match; at least D pairs.
        dim: D', how many directions to keep; all D by default.

    Returns:
        A map from D to D' dimensions.

    Raises:
        TypeError: No numbers, or pairs that are no whole numbers.
        ValueError: Another shape, NaN or infinity; fewer than D pairs; dim not from 1 to D; a direction in which no
            matching rows differ.
        IndexError: A pair names a row that is not there.
    """
    array = _matrix(rows, "rows")
    kept = _as_dim(dim, array.shape[1])
    chosen = np.asarray(pairs if isinstance(pairs, np.ndarray) else list(pairs))
    if chosen.ndim != 2 or chosen.shape[1] != 2:
        raise ValueError(f"pairs must be two rows each, shape (P, 2); got {chosen.shape}")
    if chosen.dtype.kind not in "iu":
        raise TypeError(f"pairs must be whole numbers, got dtype {chosen.dtype}")
    outside = (chosen < 0) | (chosen >= len(array))
    if outside.any():
        raise IndexError(f"pairs must lie between 0 and {len(array) - 1}, got {chosen[outside][0]}")
    if len(chosen) < array.shape[1]:
        raise ValueError(f"{array.shape[1]} dimensions need at least as many pairs, got {len(chosen)}")
    first = _in_double(array[chosen[:, 0]], "rows")
    apart = first - _in_double(array[chosen[:, 1]], "rows")
    mean = first.mean(axis=0)
    covariance = apart.T @ apart / len(apart)
    variances, _ = _principal(covariance)
    _deviations(variances, len(variances), "differences of matching rows")
    root = np.linalg.cholesky(covariance)
    white = np.linalg.solve(root, np.eye(len(root)))
    _, turned = _principal(white @ _scatter(array, mean) @ white.T / len(array))
    return _centred_map(turned[:kept] @ white, mean)


def _matrix(values: Any, what: str) -> np.ndarray:
    array = as_rows(values, what)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{what} must be a matrix with at least one row and column, got shape {array.shape}")
    return array


def _in_double(rows: np.ndarray, what: str, first: int = 0) -> np.ndarray:
    """Rows in float64, refused where they hold NaN, infinity or more than float32 does."""
    as_float32(rows, what, first)
    return rows.astype(np.float64)


def _as_dim(dim: Any, most: int) -> int:
    if dim is None:
        return most
    if isinstance(dim, bool) or not isinstance(dim, int | np.integer):
        raise TypeError(f"dim must be a whole number, got {dim!r}")
    if not 1 <= dim <= most:
        raise ValueError(f"dim must lie between 1 and the {most} dimensions of the rows, got {dim}")
    return int(dim)


def _enough(count: int, dim: int, what: str) -> None:
    if count <= dim:
        raise ValueError(f"{dim} dimensions need more than {dim} {what} to be fitted on, got {count}")


def _mean(rows: np.ndarray) -> np.ndarray:
    total = np.zeros(rows.shape[1])
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        total += _in_double(rows[start : start + _ROWS_AT_ONCE], "fit_on", first=start).sum(axis=0)
    return total / len(rows)


def _scatter(rows: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """(D, D), the sum of (x − mean)(x − mean)ᵀ."""
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        block = _in_double(rows[start : start + _ROWS_AT_ONCE], "rows", first=start) - mean
        total += block.T @ block
    return total


def _principal(symmetric: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, largest first, and eigenvectors as rows, the largest component of each positive."""
    values, vectors = np.linalg.eigh(symmetric)
    values, vectors = values[::-1], vectors[:, ::-1].T
    largest = np.abs(vectors).argmax(axis=1)
    signs = np.where(vectors[np.arange(len(vectors)), largest] < 0, -1.0, 1.0)
    return values, vectors * signs[:, None]


def _deviations(variances: np.ndarray, kept: int, what: str = "the rows") -> np.ndarray:
    """Roots of the first variances.

    Raises:
        ValueError: One of them is zero to rounding.
    """
    least = len(variances) * np.finfo(np.float32).eps ** 2 * max(float(variances[0]), 0.0)
    varied = int((variances[:kept] > least).sum())
    if varied < kept:
        raise ValueError(f"{what} vary in {varied} directions only, so {kept} cannot be whitened")
    return np.sqrt(variances[:kept])


def _centred_map(matrix: np.ndarray, mean: np.ndarray) -> LinearMap:
    """The map that takes the mean off first; the bias is that of the matrix as it is kept, in float32."""
    kept = matrix.astype(np.float32)
    return LinearMap(kept, -(kept.astype(np.float64) @ mean))
