"""Linear discriminant analysis: the linear map that tells classes apart best, in closed form."""

import numpy as np


def discriminant_map(
    features: np.ndarray, labels: np.ndarray, dimensions: int, ridge: float = 0.1
) -> np.ndarray:
    """Fit the linear map under which classes lie far apart and their images close together.

    Fisher's criterion for many classes (Rao, J. R. Stat. Soc. B 10, 1948): with S_w the scatter within classes and
    S_b the scatter of the class means, the rows are the leading eigenvectors of S_w^(−1/2) S_b S_w^(−1/2), times
    S_w^(−1/2). After the map the scatter within classes is the identity, up to the ridge: what varies between
    images of one class no longer weighs more than what tells classes apart.

    Args:
        features: (N, C) float, one row per image.
        labels: (N,), the class of each row, at least two classes.
        dimensions: How many rows the map has, 1 to C.
        ridge: Added to the diagonal of S_w, as a share of its mean, ≥ 0.

    Returns:
        (dimensions, C) float64; the sign of each row makes its largest entry positive.

    Raises:
        ValueError: Shapes that do not fit, fewer than two classes, or an impossible number of dimensions.

    Examples:
        >>> import numpy as np
        >>> wide_in_x = np.array([[-9.0, 0], [9, 0], [-9, 1], [9, 1]])  # x varies within, y between the classes
        >>> towards = discriminant_map(wide_in_x, np.array([0, 0, 1, 1]), dimensions=1)
        >>> bool(abs(towards[0, 1]) > 5 * abs(towards[0, 0]))
        True
    """
    rows = np.asarray(features, dtype=np.float64)
    if rows.ndim != 2 or np.shape(labels) != rows.shape[:1]:
        raise ValueError(
            f"features must be (N, C) with one label per row; got {rows.shape} and {np.shape(labels)}"
        )
    names, of_row = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"telling classes apart needs at least two of them; got {len(names)}")
    if not 1 <= dimensions <= rows.shape[1]:
        raise ValueError(f"dimensions must lie between 1 and {rows.shape[1]}; got {dimensions}")
    counts = np.bincount(of_row)
    means = np.stack([np.bincount(of_row, weights=column) / counts for column in rows.T], axis=1)
    within = rows - means[of_row]
    scatter = within.T @ within / len(rows)
    scatter[np.diag_indices_from(scatter)] += ridge * np.trace(scatter) / len(scatter)
    lengths, axes = np.linalg.eigh(scatter)
    whiten = (axes / np.sqrt(lengths)) @ axes.T
    between = whiten @ np.cov(means.T) @ whiten
    _, directions = np.linalg.eigh(between)
    found = directions[:, ::-1][:, :dimensions].T @ whiten
    largest = found[np.arange(dimensions), np.abs(found).argmax(1)]
    return np.asarray(found * np.sign(largest)[:, None])
