"""Optimal transport with entropic regularisation, by Sinkhorn's iteration on logarithms."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Transport:
    """A transport plan, and how well it keeps its marginals.

    Attributes:
        plan: (n, m) float64, not negative; its sums over columns are the second marginal exactly.
        error: Σᵢ |Σⱼ planᵢⱼ − uᵢ|, the mass by which the first marginal is missed.
        iterations: How many were run.
        converged: Whether the error is at most the tolerance.
    """

    plan: np.ndarray
    error: float
    iterations: int
    converged: bool


def transport(
    cost: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    regularisation: float,
    iterations: int = 100,
    tolerance: float = 1e-6,
) -> Transport:
    """Move mass from rows to columns at the least cost, less `regularisation` times the entropy of the plan.

    The plan is exp((fᵢ + gⱼ − costᵢⱼ)/λ) where f and g are found in turns from the marginals (Sinkhorn; Cuturi,
    Sinkhorn Distances, NeurIPS 2013), on logarithms, so that a small λ neither underflows nor overflows. After
    each round the columns are met exactly; the rows tell how far it is from done.

    Args:
        cost: (n, m), finite.
        rows: (n,), not negative, sum 1; a row without mass sends nothing.
        columns: (m,), the same.
        regularisation: λ > 0, in units of the cost.
        iterations: The most rounds, at least 1.
        tolerance: Stop once the error is at most this.

    Returns:
        A `Transport`, converged or not.

    Raises:
        ValueError: If shapes do not fit, a number is not finite, or a marginal is negative or does not sum to 1.

    Examples:
        >>> import numpy as np
        >>> found = transport(np.array([[0.0, 1.0], [1.0, 0.0]]), np.full(2, 0.5), np.full(2, 0.5), 0.1)
        >>> found.plan.round(3).tolist(), found.converged
        ([[0.5, 0.0], [0.0, 0.5]], True)
    """
    cost, rows, columns = (np.asarray(one, dtype=np.float64) for one in (cost, rows, columns))
    if cost.ndim != 2 or rows.shape != cost.shape[:1] or columns.shape != cost.shape[1:] or cost.size == 0:
        raise ValueError(
            f"a cost (n, m) needs n and m masses; got shapes {cost.shape}, {rows.shape} and {columns.shape}"
        )
    if not np.isfinite(cost).all():
        raise ValueError("costs must be finite; got NaN or infinity")
    for name, mass in (("rows", rows), ("columns", columns)):
        if not ((mass >= 0).all() and abs(mass.sum() - 1) <= 1e-9):
            raise ValueError(f"the masses of the {name} must not be negative and sum to 1; got {mass}")
    if not (np.isfinite(regularisation) and regularisation > 0):
        raise ValueError(f"regularisation must be above 0, got {regularisation!r}")
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations}")
    kernel = -cost / regularisation
    with np.errstate(divide="ignore"):  # no mass: its logarithm is −∞, and so its share of the plan 0
        log_rows, log_columns = np.log(rows), np.log(columns)
    g = np.zeros(len(columns))
    done, error, plan = 0, np.inf, np.zeros_like(cost)
    while done < iterations and not error <= tolerance:
        f = log_rows - _log_sum(kernel + g, axis=1)
        g = log_columns - _log_sum(kernel + f[:, None], axis=0)
        plan = np.exp(kernel + f[:, None] + g)
        error = float(np.abs(plan.sum(axis=1) - rows).sum())
        done += 1
    return Transport(plan, error, done, error <= tolerance)


def _log_sum(values: np.ndarray, axis: int) -> np.ndarray:
    """Log Σ exp along an axis; some value along it is finite."""
    top = values.max(axis=axis, keepdims=True)
    return np.asarray(np.log(np.exp(values - top).sum(axis=axis)) + np.squeeze(top, axis))
