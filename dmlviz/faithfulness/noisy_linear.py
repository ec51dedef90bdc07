"""Missing pixels filled from their neighbours, so that what is left out leaves no edge to be seen."""

import numpy as np

NOISE = 2.55
"""Standard deviation of the noise, in grey levels: 0.01 of the range of a picture."""
_WITHIN = 0.02  # grey levels: how nearly each filled pixel is the mean of its neighbours
_STEPS_AT_MOST = 5000


def noisy_linear(
    view: np.ndarray, keep: np.ndarray, random: np.random.Generator, noise: float = NOISE
) -> np.ndarray:
    """Noisy linear imputation.

    Every missing pixel is the weighted mean of its eight neighbours, missing or not: 1/6 for each of the four beside
    it, 1/12 for each of the four across, scaled to sum to 1 at the edge of the view; plus noise. The linear system of
    each picture is symmetric and positive definite and is solved by conjugate gradients, until each missing pixel is
    the mean of its neighbours within 0.02 grey levels.

    Source: Rong, Leemann, Borisov, Kasneci and Kasneci, A Consistent and Efficient Evaluation Strategy for
    Attribution Methods, ICML 2022 (ROAD). Here the noise is 0.01 of the range of grey levels, whatever the network's
    normalisation, and the result is rounded to whole grey levels. Where nothing at all is kept, the mean colour of
    the view stands for the mean of the neighbours, which is not defined then.

    Args:
        view: (H, W, 3) uint8.
        keep: (B, H, W) bool, False where a pixel is missing.
        random: Draws the noise.
        noise: Its standard deviation in grey levels; 0 for none.

    Returns:
        (B, H, W, 3) uint8; kept pixels as they are.

    Raises:
        FloatingPointError: If the system could not be solved.

    Examples:
        >>> import numpy as np
        >>> view = np.array([[[10] * 3, [0] * 3, [20] * 3]], np.uint8)
        >>> keep = np.array([[[True, False, True]]])
        >>> noisy_linear(view, keep, np.random.default_rng(0), noise=0.0)[0, 0, :, 0].tolist()
        [10, 15, 20]
    """
    picture = np.moveaxis(view, 2, 0)[None].astype(np.float32)
    known = keep[:, None].astype(np.float32)
    filled = np.broadcast_to(picture.mean(axis=(2, 3), keepdims=True), (len(keep), *picture.shape[1:])).copy()
    some = keep.any(axis=(1, 2)) & ~keep.all(axis=(1, 2))
    if some.any():
        filled[some] = _means_of_neighbours(picture * known[some], known[some])
    filled += random.normal(0.0, noise, filled.shape).astype(np.float32)
    mixed = np.where(keep[:, None], picture, filled)
    return np.moveaxis(np.rint(mixed).clip(0, 255).astype(np.uint8), 1, 3)


def _means_of_neighbours(seen: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Solve (d·x − Wx) = W·seen on the missing pixels: (B, 3, H, W) float32 from the same with 0 where missing."""
    missing = 1 - known
    total = _from_neighbours(np.ones_like(known[:1]))
    scale = np.where(total > 0, total, 1)
    found = missing * _first_guess(seen, known)
    rest = missing * (_from_neighbours(seen + found) - total * found)
    going = np.arange(len(seen))
    guided = rest / scale
    along, power = guided.copy(), _products(rest, guided)
    for _ in range(_STEPS_AT_MOST):
        still = np.abs(rest / scale).max(axis=(1, 2, 3)) > _WITHIN
        if not still.any():
            return found
        if not still.all():  # pictures that are solved need no further steps
            going, rest, along, power = going[still], rest[still], along[still], power[still]
        applied = missing[going] * (total * along - _from_neighbours(along))
        length = power / _products(along, applied)
        found[going] += length * along
        rest = rest - length * applied
        guided = rest / scale
        before, power = power, _products(rest, guided)
        along = guided + power / np.maximum(before, np.float32(1e-30)) * along
    raise FloatingPointError(
        f"missing pixels could not be filled from their neighbours in {_STEPS_AT_MOST} steps; use another fill than "
        "'road', such as 'mean'"
    )


def _products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=(1, 2, 3), keepdims=True)


def _from_neighbours(x: np.ndarray) -> np.ndarray:
    """W: 1/6 of each of the four pixels beside, 1/12 of each of the four across, (..., H, W)."""
    down = 2 * x
    down[..., 1:, :] += x[..., :-1, :]
    down[..., :-1, :] += x[..., 1:, :]
    across = 2 * down
    across[..., 1:] += down[..., :-1]
    across[..., :-1] += down[..., 1:]
    return np.asarray((across - 4 * x) / 12)


def _first_guess(seen: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Missing pixels by the mean of the kept ones in the smallest block of 2, 4, 8, ... pixels that holds one."""
    height, width = known.shape[2:]
    if known.all() or max(height, width) == 1:
        return seen
    odd = ((0, 0), (0, 0), (0, height % 2), (0, width % 2))
    sums, counts = (_blocks(np.pad(a, odd)) for a in (seen, known))
    held = np.minimum(counts, 1)
    coarse = _first_guess(sums / np.maximum(counts, 1), held)
    finer = coarse.repeat(2, axis=2).repeat(2, axis=3)[..., :height, :width]
    return np.asarray(np.where(known > 0, seen, finer))


def _blocks(a: np.ndarray) -> np.ndarray:
    """Sums over blocks of 2 × 2."""
    b, c, h, w = a.shape
    return np.asarray(a.reshape(b, c, h // 2, 2, w // 2, 2).sum(axis=(3, 5)))
