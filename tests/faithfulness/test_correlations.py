"""Correlations by hand, against plain loops, and under what must not change them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmlviz.faithfulness.correlations import kendall, pearson, r_squared, ranks, spearman


def slow_ranks(x):
    return [sum(b < a for b in x) + (sum(b == a for b in x) + 1) / 2 for a in x]


def slow_pearson(x, y):
    mx, my = sum(x) / len(x), sum(y) / len(y)
    up = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True))
    return up / (sum((a - mx) ** 2 for a in x) * sum((b - my) ** 2 for b in y)) ** 0.5


def slow_kendall(x, y):
    agree = disagree = free_x = free_y = 0
    for i in range(len(x)):
        for j in range(i):
            of_x, of_y = (x[i] > x[j]) - (x[i] < x[j]), (y[i] > y[j]) - (y[i] < y[j])
            agree += of_x * of_y > 0
            disagree += of_x * of_y < 0
            free_x += of_x != 0
            free_y += of_y != 0
    return (agree - disagree) / (free_x * free_y) ** 0.5


rows = st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=2, max_size=12)


@settings(deadline=None, max_examples=25)
@given(rows)
def test_they_equal_the_loops_ties_and_all(pairs):
    x, y = (list(map(float, side)) for side in zip(*pairs, strict=True))
    assert ranks(x).tolist() == slow_ranks(x)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert all(np.isnan(of(x, y)) for of in (pearson, spearman, kendall))
        return
    assert pearson(x, y) == pytest.approx(slow_pearson(x, y), abs=1e-12)
    assert spearman(x, y) == pytest.approx(slow_pearson(slow_ranks(x), slow_ranks(y)), abs=1e-12)
    assert kendall(x, y) == pytest.approx(slow_kendall(x, y), abs=1e-12)


def test_values_worked_by_hand():
    # ranks of y: 1, 2.5, 2.5, 4: Σd² with ties -> ρ = 4.5 / √(5 · 4.5); τ_b = 5 / √(6 · 5)
    x, y = [1, 2, 3, 4], [0, 5, 5, 9]
    assert spearman(x, y) == pytest.approx(4.5 / np.sqrt(5 * 4.5))
    assert kendall(x, y) == pytest.approx(5 / np.sqrt(30))
    # residuals 1, 0, −1 against deviations −1, 0, 1: 1 − 2/2
    assert r_squared([1, 2, 3], [0, 2, 4]) == pytest.approx(0.0)
    assert r_squared([1, 2, 3], [0, 2, 4], fitted=True) == pytest.approx(1.0)
    assert r_squared([1, 2, 3], [3, 2, 1]) == pytest.approx(-3.0)


@pytest.mark.parametrize("of", [pearson, spearman, kendall])
def test_perfect_inverted_and_random(of):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(200)
    assert of(x, 3 * x + 7) == pytest.approx(1.0)
    assert of(x, -x) == pytest.approx(-1.0)
    assert abs(of(x, rng.standard_normal(200))) < 0.2
    assert of(x, x**3 + 2) == pytest.approx(of(1e8 * x, 1e-8 * (x**3 + 2)), abs=1e-9)


def test_the_order_of_sums_makes_no_order_of_values():
    # one value, summed in three ways; without levelling the rounding would rank them
    x = np.array([0.1 + 0.2 + 0.3, 0.3 + 0.2 + 0.1, 0.6, 1.0])
    assert len(set(x[:3].tolist())) > 1
    assert spearman(x, [1, 2, 3, 4]) == spearman([6, 6, 6, 10], [1, 2, 3, 4])
    assert kendall(x, [1, 2, 3, 4]) == kendall([6, 6, 6, 10], [1, 2, 3, 4])
    assert np.isnan(spearman(x[:3], [1, 2, 3]))


def test_fitted_is_pearson_squared_and_plain_is_never_above():
    rng = np.random.default_rng(1)
    for _ in range(20):
        real, told = rng.standard_normal((2, 9))
        fitted = r_squared(real, told, fitted=True)
        assert fitted == pytest.approx(pearson(real, told) ** 2)
        slope, rest = np.polyfit(told, real, 1)
        assert fitted == pytest.approx(r_squared(real, slope * told + rest), abs=1e-9)
        assert r_squared(real, told) <= fitted + 1e-12


def test_what_says_nothing_is_nan():
    assert all(np.isnan(of([1.0], [2.0])) for of in (pearson, spearman, kendall, r_squared))
    assert all(np.isnan(of([], [])) for of in (pearson, spearman, kendall, r_squared))
    assert np.isnan(r_squared([2, 2, 2], [1, 2, 3]))
    assert r_squared([1, 2, 3], [5, 5, 5], fitted=True) == 0.0
    assert np.isnan(pearson([0, 0], [1, 2]))


def test_what_cannot_be_compared_is_refused():
    for of in (pearson, spearman, kendall, r_squared):
        with pytest.raises(
            ValueError, match=r"two equally long rows of numbers; got shapes \(2,\) and \(3,\)"
        ):
            of([1, 2], [1, 2, 3])
        with pytest.raises(ValueError, match="expected finite numbers; got NaN or infinity"):
            of([1, 2], [1, np.nan])
