"""Maps before the index: PCA, whitening and Mahalanobis against slow twins, and through the index itself."""

import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmlviz.index import GalleryIndex, LinearMap, learned_whitening, mahalanobis, pca
from dmlviz.index.engine import faiss


def rows_of(seed, count, dim, offset=0.0):
    """Correlated rows, off centre by `offset`."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((dim, dim)) * np.linspace(2, 0.3, dim)
    return (rng.standard_normal((count, dim)) @ mixing + offset).astype(np.float32)


def slow_apply(matrix, bias, row):
    return [
        sum(float(a) * float(b) for a, b in zip(line, row, strict=True)) + float(shift)
        for line, shift in zip(matrix, bias, strict=True)
    ]


def slow_covariance(rows):
    rows = [[float(value) for value in row] for row in rows]
    count, dim = len(rows), len(rows[0])
    mean = [sum(row[d] for row in rows) / count for d in range(dim)]
    return np.array(
        [
            [sum((row[a] - mean[a]) * (row[b] - mean[b]) for row in rows) / (count - 1) for b in range(dim)]
            for a in range(dim)
        ]
    )


def test_apply_is_the_formula():
    rng = np.random.default_rng(0)
    one = LinearMap(rng.standard_normal((3, 5)), rng.standard_normal(3))
    rows = rng.standard_normal((7, 5))
    mapped = one.apply(rows)
    assert mapped.dtype == one.matrix.dtype == np.float32
    assert (one.dim, one.out_dim, repr(one)) == (5, 3, "LinearMap(5 → 3 dimensions)")
    expected = [slow_apply(one.matrix, one.bias, row) for row in rows]
    np.testing.assert_allclose(mapped, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(one.apply(rows[2]), mapped[2], rtol=1e-6)
    assert one.apply(rows[2]).shape == (3,)
    assert one.apply(np.zeros((0, 5))).shape == (0, 3)
    many = rng.standard_normal((20_000, 5))
    np.testing.assert_allclose(
        one.apply(many)[19_999], slow_apply(one.matrix, one.bias, many[19_999]), rtol=1e-5
    )


def test_a_map_cannot_be_changed():
    matrix, bias = np.eye(2), np.zeros(2)
    one = LinearMap(matrix, bias)
    matrix[0, 0] = bias[0] = 9
    assert one.apply([1.0, 1.0]).tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="read-only"):
        one.matrix[0, 0] = 3
    with pytest.raises(AttributeError, match="cannot assign"):
        one.bias = bias


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 99), st.sampled_from([0.0, 30.0, 1000.0]), st.integers(1, 6))
def test_principal_components_diagonalise_the_covariance(seed, offset, dim):
    rows = rows_of(seed, 80, 6, offset)
    covariance = slow_covariance(rows)
    one = pca(rows, dim)
    matrix = one.matrix.astype(np.float64)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(dim), atol=1e-6)
    turned = matrix @ covariance @ matrix.T
    largest = np.sort(np.linalg.eigvalsh(covariance))[::-1]
    np.testing.assert_allclose(turned, np.diag(largest[:dim]), atol=1e-5 * largest[0])
    mapped = one.apply(rows)
    np.testing.assert_allclose(mapped.mean(axis=0, dtype=np.float64), 0, atol=1e-5 * np.sqrt(largest[0]))
    np.testing.assert_allclose(mapped.astype(np.float64).var(axis=0, ddof=1), largest[:dim], rtol=1e-4)
    assert (matrix[np.arange(dim), np.abs(matrix).argmax(axis=1)] > 0).all()
    if dim == 6:  # a turn keeps distances
        apart = mapped[:5, None].astype(np.float64) - mapped[None, :5]
        before = rows[:5, None].astype(np.float64) - rows[None, :5]
        np.testing.assert_allclose((apart**2).sum(-1), (before**2).sum(-1), rtol=1e-5, atol=1e-6)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 99), st.sampled_from([0.0, 30.0, 1000.0]), st.integers(1, 6))
def test_whitened_rows_have_variance_one_and_no_correlation(seed, offset, dim):
    rows = rows_of(seed, 100, 6, offset)
    mapped = pca(rows, dim, whiten=True).apply(rows)
    np.testing.assert_allclose(slow_covariance(mapped), np.eye(dim), atol=2e-4)


def test_faiss_whitens_to_another_variance_in_the_same_directions():
    rows = rows_of(0, 500, 6)
    theirs = faiss.PCAMatrix(6, 4, -0.5)
    theirs.train(rows)
    other, mine = theirs.apply(rows), pca(rows, 4, whiten=True).apply(rows)
    np.testing.assert_allclose(other.std(axis=0), 1 / np.sqrt(500), rtol=1e-3)
    np.testing.assert_allclose(mine.std(axis=0, ddof=1), 1, rtol=1e-4)
    np.testing.assert_allclose(np.abs(mine), np.abs(other) * np.sqrt(499), atol=1e-3)


def test_components_may_be_fitted_on_another_set():
    learned, searched = rows_of(1, 200, 6), rows_of(2, 50, 6, 3.0)
    one = pca(fit_on=learned, dim=6, whiten=True)
    mapped = one.apply(searched).astype(np.float64)
    # whitening by a set is the Mahalanobis distance of its inverse covariance
    inverse = np.linalg.inv(slow_covariance(learned))
    for a, b in [(0, 1), (7, 30)]:
        apart = searched[a].astype(np.float64) - searched[b]
        assert ((mapped[a] - mapped[b]) ** 2).sum() == pytest.approx(apart @ inverse @ apart, rel=1e-5)
    assert not np.allclose(pca(searched, 6, whiten=True).apply(searched), mapped, atol=0.1)
    again = pca(learned[::-1], 6, whiten=True)
    np.testing.assert_allclose(again.matrix, one.matrix, atol=1e-5)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 99), st.integers(1, 6), st.booleans())
def test_distances_in_the_index_are_those_of_the_metric(seed, rank, by_factor):
    rng = np.random.default_rng(seed)
    factor = rng.standard_normal((6, rank))
    metric = factor @ factor.T
    one = mahalanobis(factor=factor) if by_factor else mahalanobis(metric)
    assert (one.dim, one.out_dim) == (6, rank)
    rows = rng.standard_normal((40, 6))
    index = GalleryIndex.build(one.apply(rows), metric="l2")
    ids, similarities = index.search(one.apply(rows[:4]), 40)
    for query, (of_query, scores) in enumerate(zip(ids, similarities, strict=True)):
        exact = []
        for row in rows[of_query]:
            apart = (rows[query] - row).tolist()
            exact.append(-sum(apart[a] * metric[a, b] * apart[b] for a in range(6) for b in range(6)))
        np.testing.assert_allclose(scores, exact, rtol=1e-6, atol=1e-6 * max(1, np.trace(metric)))


def test_a_metric_in_single_precision_is_symmetric_enough():
    factor = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    assert mahalanobis(factor @ factor.T).out_dim == 64
    assert mahalanobis(np.diag([1.0, 0.0, 3.0])).out_dim == 2


def test_learned_whitening_brings_matching_rows_together():
    rng = np.random.default_rng(0)
    # what tells things apart lies in the last two of eight directions, and varies little; the rest is noise
    things = rng.standard_normal((300, 8)) * [0, 0, 0, 0, 0, 0, 1, 1]
    noise = [5, 4, 4, 3, 3, 3, 0.005, 0.01]
    rows = np.concatenate([things + rng.standard_normal((300, 8)) * noise for _ in range(2)]) + 7
    pairs = np.stack([np.arange(300), np.arange(300, 600)], axis=1)
    one = learned_whitening(rows, pairs)
    mapped = one.apply(rows).astype(np.float64)
    apart = mapped[:300] - mapped[300:]
    np.testing.assert_allclose(apart.T @ apart / 300, np.eye(8), atol=1e-4)  # matching rows: white
    np.testing.assert_allclose(mapped[:300].mean(axis=0), 0, atol=1e-4)
    scatter = mapped.T @ mapped / 600
    np.testing.assert_allclose(scatter, np.diag(np.diag(scatter)), atol=2e-3 * scatter.max())
    assert (np.diff(np.diag(scatter)) <= 1e-6).all()

    def found(some):
        index = GalleryIndex.build(some[300:], metric="l2")
        return (index.search(some[:300], 1)[0][:, 0] == np.arange(300)).mean()

    assert found(one.apply(rows)) > 0.9 > 0.2 > found(rows)
    few = learned_whitening(rows, pairs.tolist(), dim=2)
    assert found(few.apply(rows)) > 0.9
    np.testing.assert_allclose(few.matrix, one.matrix[:2])
    assert found(pca(rows, 2).apply(rows)) < 0.2


def test_learned_whitening_is_the_published_procedure():
    rng = np.random.default_rng(3)
    rows = rows_of(4, 120, 5, 2.0).astype(np.float64)
    pairs = rng.integers(0, 120, (60, 2))
    # columns are rows there: mean of the first of each pair, scatter of differences, Cholesky, eigenvectors
    x = rows.T
    mean = x[:, pairs[:, 0]].mean(axis=1, keepdims=True)
    apart = x[:, pairs[:, 0]] - x[:, pairs[:, 1]]
    white = np.linalg.inv(np.linalg.cholesky(apart @ apart.T / 60))
    values, vectors = np.linalg.eig(white @ (x - mean) @ (x - mean).T @ white.T)
    expected = (vectors[:, values.argsort()[::-1]].T @ white @ (x - mean)).T
    mapped = learned_whitening(rows, pairs).apply(rows)
    np.testing.assert_allclose(np.abs(mapped), np.abs(expected), atol=1e-4)


# --- files ------------------------------------------------------------------------------------------


def test_round_trip(tmp_path):
    one = pca(rows_of(0, 50, 6, 100.0), 3, whiten=True)
    one.save(tmp_path / "map")
    assert [entry.name for entry in tmp_path.iterdir()] == ["map"]
    opened = LinearMap.open(tmp_path / "map")
    np.testing.assert_array_equal(opened.matrix, one.matrix)
    np.testing.assert_array_equal(opened.bias, one.bias)
    assert opened.bias.dtype == np.float64


def opened_or_why(path):
    try:
        return LinearMap.open(path)
    except ValueError as error:
        return str(error)


def test_damaged_and_foreign_files_are_refused(tmp_path):
    path = tmp_path / "map.npz"
    one = LinearMap(np.array([[1.5, 2.5], [0.25, 4.0]]), np.array([1.0, -2.0]))
    one.save(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(
            ValueError, match="cannot be read as a map: it is cut short, was changed, or is another"
        ):
            LinearMap.open(path)
    refused = 0
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        opened = opened_or_why(path)
        if isinstance(opened, str):
            refused += 1
            assert "cannot be read as a map" in opened
        else:  # a date in the archive, say
            np.testing.assert_array_equal(opened.matrix, one.matrix)
            np.testing.assert_array_equal(opened.bias, one.bias)
    assert refused > len(whole) / 6
    with path.open("wb") as file:
        np.save(file, np.eye(3))
    with pytest.raises(ValueError, match="cannot be read as a map"):
        LinearMap.open(path)
    with path.open("wb") as file:
        np.savez(file, matrix=np.array([{}], dtype=object), bias=np.zeros(1))
    with pytest.raises(ValueError, match="cannot be read as a map"):
        LinearMap.open(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("matrix.npy", b"no array")
    with pytest.raises(ValueError, match="cannot be read as a map"):
        LinearMap.open(path)
    with pytest.raises(FileNotFoundError, match="there is no map file at"):
        LinearMap.open(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="make it before saving a map there"):
        one.save(tmp_path / "no" / "folder")


# --- words ------------------------------------------------------------------------------------------

DUPLICATED = np.repeat(np.random.default_rng(0).standard_normal((30, 3)), 2, axis=1)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: LinearMap(np.eye(2), np.zeros(3)), ValueError, "bias must be 2 finite numbers"),
        (lambda: LinearMap(np.eye(2), [0, np.inf]), ValueError, "bias must be 2 finite numbers"),
        (lambda: LinearMap([[np.nan]], [0]), ValueError, "the matrix must be finite"),
        (lambda: LinearMap(np.zeros(3), [0]), ValueError, "matrix must be a matrix with at least one row"),
        (lambda: LinearMap([["a"]], [0]), TypeError, "matrix must be real numbers"),
        (
            lambda: LinearMap(np.eye(2), [0, 0]).apply([1.0]),
            ValueError,
            r"shape \(N, 2\) or \(2,\) for this map",
        ),
        (lambda: LinearMap(np.eye(1), [0]).apply([[1.0], [np.nan]]), ValueError, "row 1 holds NaN"),
        (lambda: LinearMap([[1e30]], [0]).apply([[1e30]]), ValueError, "mapped rows would not fit float32"),
        (
            lambda: pca(np.zeros((6, 6))),
            ValueError,
            "6 dimensions need more than 6 rows to be fitted on, got 6",
        ),
        (lambda: pca(rows_of(0, 9, 4), 5), ValueError, "between 1 and the 4 dimensions of the rows, got 5"),
        (lambda: pca(rows_of(0, 9, 4), 0), ValueError, "got 0"),
        (lambda: pca(rows_of(0, 9, 4), 2.0), TypeError, "dim must be a whole number"),
        (
            lambda: pca(DUPLICATED, 4, whiten=True),
            ValueError,
            "the rows vary in 3 directions only, so 4 cannot be",
        ),
        (lambda: pca(np.ones((9, 2)), whiten=True), ValueError, "vary in 0 directions only, so 2 cannot"),
        (lambda: mahalanobis(), TypeError, "give either matrix="),
        (lambda: mahalanobis(np.eye(2), factor=np.eye(2)), TypeError, "give either matrix="),
        (lambda: mahalanobis(np.ones((2, 3))), ValueError, r"matrix must be square, got \(2, 3\)"),
        (lambda: mahalanobis([[1, 2], [3, 1]]), ValueError, r"symmetric; \[0, 1\] is 2, and \[1, 0\] is 3"),
        (lambda: mahalanobis([[1, 2], [2, 1]]), ValueError, "its smallest eigenvalue is -1, so that some"),
        (lambda: mahalanobis(np.zeros((2, 2))), ValueError, "matrix is zero"),
        (
            lambda: learned_whitening(np.eye(3), [[0, 1]]),
            ValueError,
            "3 dimensions need at least as many pairs, got 1",
        ),
        (lambda: learned_whitening(np.eye(3), [[0, 1, 2]]), ValueError, r"shape \(P, 2\); got \(1, 3\)"),
        (lambda: learned_whitening(np.eye(3), [[0.5, 1]]), TypeError, "pairs must be whole numbers"),
        (lambda: learned_whitening(np.eye(3), [[0, 3]]), IndexError, "pairs must lie between 0 and 2, got 3"),
        (
            lambda: learned_whitening(DUPLICATED, [[i, i + 1] for i in range(20)]),
            ValueError,
            "differences of matching rows vary in 3 directions only, so 6 cannot be whitened",
        ),
    ],
)
def test_what_makes_no_map_is_refused_in_words(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_whitening_as_many_directions_as_there_are():
    mapped = pca(DUPLICATED, 3, whiten=True).apply(DUPLICATED)
    np.testing.assert_allclose(slow_covariance(mapped), np.eye(3), atol=1e-4)
