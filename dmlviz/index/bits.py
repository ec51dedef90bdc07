"""Binary codes: bits in and out of bytes, codes from the signs of embeddings, and how many bits differ."""

from typing import Any

import numpy as np

from dmlviz.index.checks import as_float32, as_rows

_WORD = 8
_PAIRS_AT_ONCE = 2**21
_COUNTS = np.array([value.bit_count() for value in range(2**16)], dtype=np.uint8)


def pack_bits(bits: Any) -> np.ndarray:
    """Eight bits to a byte: bit k is bit k % 8 of byte k // 8, the least significant first, as FAISS packs.

    Where B is no multiple of 8 the last byte is filled up with zeros, which changes no distance.

    Args:
        bits: (N, B) of truth values, or of numbers that are all 0 or 1; B at least 1.

    Returns:
        (N, ⌈B / 8⌉) uint8.

    Raises:
        TypeError: the values are no numbers.
        ValueError: another shape, or a value other than 0 and 1.

    Examples:
        >>> pack_bits([[1, 1, 0, 0, 0, 0, 0, 0, 1, 0]]).tolist()
        [[3, 1]]
    """
    return packed_codes(bits, packed=False)[0]


def unpack_bits(packed: Any, bits: int | None = None) -> np.ndarray:
    """The bits that `pack_bits` packed.

    Args:
        packed: (N, W) uint8.
        bits: B, from 8 (W − 1) + 1 to 8 W; all 8 W by default.

    Returns:
        (N, B) bool.

    Raises:
        TypeError: not uint8.
        ValueError: another shape, B does not fit, or a bit beyond B is set.

    Examples:
        >>> unpack_bits(pack_bits([[1, 0, 1]]), 3).tolist()
        [[True, False, True]]
    """
    codes, count = packed_codes(packed, packed=True, bits=bits)
    return np.unpackbits(codes, axis=1, count=count, bitorder="little").astype(bool)


def sign_bits(embeddings: Any, threshold: Any = "zero", *, fit_on: Any = None) -> np.ndarray:
    """Codes from embeddings: bit k is set where component k lies above its threshold.

    Args:
        embeddings: (N, D) finite numbers.
        threshold: "zero", for the signs; "median", for the median of each component over `fit_on`, so that each
            bit is set for half of those rows; or (D,) numbers.
        fit_on: (n, D), rows whose medians are taken; `embeddings` by default. Codes can only be compared where
            their thresholds are the same: give the gallery's embeddings here for queries as well.

    Returns:
        (N, D) bool. A component that equals its threshold gives False.

    Raises:
        TypeError: the embeddings or the thresholds are no numbers.
        ValueError: another shape, NaN or infinity, an unknown threshold, or `fit_on` without "median".

    Examples:
        >>> sign_bits([[0.5, -2.0, 0.0]]).tolist()
        [[True, False, False]]
        >>> sign_bits([[1.0, 1.0], [2.0, 5.0], [3.0, 9.0]], "median").tolist()
        [[False, False], [False, False], [True, True]]
    """
    rows = _matrix(embeddings, "embeddings")
    named = threshold if isinstance(threshold, str) else None
    if named not in ("zero", "median", None):
        raise ValueError(f"threshold must be 'zero', 'median' or one number per component, got {threshold!r}")
    if fit_on is not None and named != "median":
        raise ValueError("fit_on goes with threshold='median'; other thresholds are not taken from rows")
    if named == "zero":
        return rows > 0
    if named == "median":
        source = rows if fit_on is None else _matrix(fit_on, "fit_on")
        if source.shape[1] != rows.shape[1]:
            raise ValueError(
                f"fit_on must have the {rows.shape[1]} components of the embeddings, got {source.shape[1]}"
            )
        if len(source) == 0:
            raise ValueError("medians need at least one row; fit_on holds none")
        return rows > np.median(source.astype(np.float64), axis=0)
    levels = as_rows(threshold, "threshold")
    if levels.shape != (rows.shape[1],) or not np.isfinite(levels).all():
        raise ValueError(
            f"threshold must be {rows.shape[1]} finite numbers, one per component; got shape {levels.shape}"
        )
    return rows > levels


def hamming_distances(queries: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """How many bits differ, for every query and every code.

    Args:
        queries: (Q, W) uint8, packed.
        codes: (N, W) uint8, packed in the same way.

    Returns:
        (Q, N) int32, from 0 to 8 W.

    Raises:
        ValueError: the codes are of different lengths.

    Examples:
        >>> hamming_distances(pack_bits([[1, 1, 0]]), pack_bits([[1, 1, 0], [0, 1, 1]])).tolist()
        [[0, 2]]
    """
    if queries.shape[1:] != codes.shape[1:]:
        raise ValueError(f"codes of one length can be compared, got shapes {queries.shape} and {codes.shape}")
    asked, held = as_words(queries), as_words(codes)
    found = np.zeros((len(asked), len(held)), dtype=np.int32)
    step = max(1, _PAIRS_AT_ONCE // max(len(held), 1))
    for start in range(0, len(asked), step):
        block = found[start : start + step]
        for place in range(asked.shape[1]):
            block += bit_counts(asked[start : start + step, place, None] ^ held[None, :, place])
    return found


def pair_bit_distances(
    queries: np.ndarray, codes: np.ndarray, query_of: np.ndarray, row_of: np.ndarray
) -> np.ndarray:
    """How many bits differ in chosen pairs: (P,) int32; `query_of` and `row_of` are (P,) places."""
    asked, held = as_words(queries), as_words(codes)
    found = np.zeros(len(row_of), dtype=np.int32)
    for start in range(0, len(row_of), _PAIRS_AT_ONCE):
        block = slice(start, start + _PAIRS_AT_ONCE)
        found[block] = bit_counts(asked[query_of[block]] ^ held[row_of[block]]).sum(axis=1, dtype=np.int32)
    return found


def as_words(codes: np.ndarray) -> np.ndarray:
    """(N, W) uint8 as (N, ⌈W / 8⌉) uint64, filled up with zeros; no copy where W is a multiple of 8."""
    lacking = -codes.shape[1] % _WORD
    if lacking:
        codes = np.pad(codes, ((0, 0), (0, lacking)))
    return np.ascontiguousarray(codes).view(np.uint64)


def bit_counts(words: np.ndarray) -> np.ndarray:
    """How many bits are set in each word: uint64 -> uint8, of the same shape."""
    if hasattr(np, "bitwise_count"):  # since NumPy 2.0
        return np.asarray(np.bitwise_count(words))
    parts = np.ascontiguousarray(words).view(np.uint16).reshape(*words.shape, 4)
    return np.asarray(_COUNTS[parts].sum(axis=-1, dtype=np.uint8))


def packed_codes(
    codes: Any, *, packed: bool, bits: int | None = None, what: str = "codes"
) -> tuple[np.ndarray, int]:
    """Codes as they came, checked and packed.

    Args:
        codes: (N, B) bits, or (N, W) uint8 with eight bits to a byte.
        packed: which of the two.
        bits: B, where it is known.
        what: how the codes are called in an error message.

    Returns:
        (N, ⌈B / 8⌉) uint8, C-contiguous, and B.

    Raises:
        TypeError: the codes are no numbers; packed ones are not uint8.
        ValueError: another shape, a value other than 0 and 1, a number of bits that does not fit, or bits set
            beyond it.
    """
    array = as_rows(codes, what)
    if array.ndim != 2 or array.shape[1] == 0:
        unit = "bytes" if packed else "bits"
        raise ValueError(f"{what} must have the shape (N, {unit}), at least 1 wide; got {array.shape}")
    if packed:
        return _checked_bytes(array, bits, what)
    if array.dtype != bool:
        odd = array[(array != 0) & (array != 1)]
        if odd.size:
            raise ValueError(
                f"{what} must hold bits, 0 or 1; got {odd.flat[0]}. For codes of −1 and +1 or embeddings give "
                "sign_bits(...); for eight bits to a byte say packed=True"
            )
        array = array.astype(bool)
    if bits is not None and array.shape[1] != bits:
        raise ValueError(f"{what} must have {bits} bits, got {array.shape[1]}")
    return np.packbits(array, axis=1, bitorder="little"), array.shape[1]


def _checked_bytes(array: np.ndarray, bits: int | None, what: str) -> tuple[np.ndarray, int]:
    width = array.shape[1]
    if array.dtype != np.uint8:
        raise TypeError(f"packed {what} must be uint8, eight bits to a byte; got dtype {array.dtype}")
    if bits is None:
        return np.ascontiguousarray(array), 8 * width
    if -(-bits // 8) != width:
        raise ValueError(f"{bits} bits take {-(-bits // 8)} bytes, got {what} of {width} bytes")
    if bits % 8 and (array[:, -1] >> (bits % 8)).any():
        raise ValueError(
            f"{what} of {bits} bits must leave the last {-bits % 8} of their last byte at zero; some are set. "
            "Pack them with pack_bits"
        )
    return np.ascontiguousarray(array), bits


def _matrix(values: Any, what: str) -> np.ndarray:
    rows = as_rows(values, what)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise ValueError(f"{what} must have the shape (N, D) with D at least 1, got {rows.shape}")
    as_float32(rows, what)
    return rows
