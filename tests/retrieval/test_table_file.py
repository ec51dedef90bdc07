"""A table of images as a file of Arrow's: found again as it was, and refused in words where it was changed."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import dmlviz.retrieval.table_file as table_file
from dmlviz.images import ImageSet
from dmlviz.images.readers import FileReader
from dmlviz.retrieval.table_file import read_table, write_table

WORDS = "it is no table of images, or was changed or cut short"


def many(examples):
    return settings(
        deadline=None,
        max_examples=examples,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


def image_set(names, labels=None, table=None, files=None):
    read = (lambda i: np.zeros((2, 2, 3), np.uint8)) if files is None else FileReader(tuple(files), names)
    return ImageSet(read, names, labels, table)


def through(path, images, mapped=False):
    write_table(path, images, path.parent)
    return read_table(path, mapped)


@pytest.fixture
def images(tmp_path):
    table = pd.DataFrame({"camera": [3, 1, 2], "day": ["Monday", None, "Sunday"], "weight": [0.5, np.nan, 1]})
    files = [tmp_path / "pictures" / f"{n}.png" for n in range(3)]
    return image_set(("é", "b", "c"), ["x", "y", "x"], table, files)


# --- found again --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mapped", [False, True])
def test_everything_is_found_again(tmp_path, images, mapped):
    found = through(tmp_path / "t.arrow", images, mapped)
    assert (found.names, len(found)) == (("é", "b", "c"), 3)
    assert list(found.labels) == ["x", "y", "x"]
    assert list(found.files) == [str(tmp_path / "pictures" / f"{n}.png") for n in range(3)]
    assert list(found.files_from_here) == [os.path.join("pictures", f"{n}.png") for n in range(3)]
    pd.testing.assert_frame_equal(
        found.columns(), images.table.drop(columns=["name", "label"]), check_names=False
    )
    assert (found.labels[1], list(found.labels[1:])) == ("y", ["y", "x"])


def test_images_without_labels_files_or_columns(tmp_path):
    found = through(tmp_path / "t.arrow", image_set(("a",)))
    assert (found.names, found.labels, found.files, found.files_from_here) == (("a",), None, None, None)
    assert found.columns() is None


def test_names_that_are_no_text_for_others(tmp_path):
    names = ("\udcff.png", "b\0c", "", "\U0001f426", "\ud800")
    files = [Path("/no") / name.replace("\0", "") for name in names]
    table = pd.DataFrame({0: pd.Series(names, dtype=object)})
    found = through(tmp_path / "t.arrow", image_set(names, names, table, files))
    assert found.names == names
    assert list(found.labels) == [name.rstrip("\0") for name in names]
    assert list(found.files) == [str(file) for file in files]
    assert found.columns()[0].tolist() == list(names)


def test_the_file_is_a_table_for_everyone(tmp_path, images):
    write_table(tmp_path / "t.arrow", images, tmp_path)
    with pa.memory_map(str(tmp_path / "t.arrow")) as file:
        table = pa.ipc.open_file(file).read_all()
        assert table.column_names == ["name", "label", "file", "file_from_here", "camera", "day", "weight"]
        assert table.column("name").to_pylist() == ["é", "b", "c"]
        assert table.column("camera").type == pa.int64()
        assert table.column("weight").to_pylist()[0] == 0.5


def test_many_rows_and_columns_of_the_names_that_are_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(table_file, "_ROWS", 100)
    count = 257
    table = pd.DataFrame(np.arange(4 * count).reshape(count, 4), columns=["file", 0, "file", "x"])
    files = [Path(f"/p/{n}") for n in range(count)]
    found = through(tmp_path / "t.arrow", image_set(tuple(map(str, range(count))), None, table, files), True)
    assert found.names[-1] == str(count - 1)
    assert found.files[count - 1] == f"/p/{count - 1}"
    frame = found.columns()
    assert frame.columns.tolist() == ["file", 0, "file", "x"]
    np.testing.assert_array_equal(frame.to_numpy(), table.to_numpy())


WITH_TYPES = {
    "bool": np.array([True, False, True]),
    "int8": np.array([-128, 0, 127], np.int8),
    "uint64": np.array([0, 1, 2**64 - 1], np.uint64),
    "float16": np.array([0.5, np.nan, -np.inf], np.float16),
    "float32": np.array([0.1, np.nan, np.inf], np.float32),
    "float64": np.array([0.1, -0.0, 1e-320]),
    "texts": ["a", "", "é"],
    "when": np.array(["2020-01-01", "NaT", "1999-12-31T23:59:59.123456789"], "datetime64[ns]"),
    "there": pd.to_datetime(["2020-01-01", None, "1999-12-31"]).tz_localize("Europe/Berlin"),
    "seconds": np.array(["2020-01-01", "NaT", "1999-12-31"], "datetime64[s]"),
    "long": pd.to_timedelta(["1h", None, "3s"]),
    "Int16": pd.array([1, None, -3], dtype="Int16"),
    "UInt8": pd.array([1, 2, 255], dtype="UInt8"),
    "Float32": pd.array([0.5, None, 1.5], dtype="Float32"),
    "boolean": pd.array([True, None, False], dtype="boolean"),
    "string": pd.array(["a", None, "é"], dtype="string"),
    "category": pd.Categorical(["b", None, "a"], categories=["b", "unused", "a"], ordered=True),
    "objects": np.array(["a", None, "b"], dtype=object),
    "mixed": np.array([1, "1", 1.5], dtype=object),
    "some": np.array([True, None, 2**80], dtype=object),
}


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("name", WITH_TYPES)
def test_columns_keep_their_types(tmp_path, name, mapped):
    table = pd.DataFrame({name: pd.Series(WITH_TYPES[name])})
    found = through(tmp_path / "t.arrow", image_set(("a", "b", "c"), None, table), mapped).columns()
    pd.testing.assert_frame_equal(found, table, check_exact=True)
    found.iloc[0, 0] = found.iloc[1, 0]  # the table is the reader's own


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([(1, 2.5), [3], np.array([4, np.nan])], [[1, 2.5], [3], [4, None]]),
        ([1 + 2j, 0j, 1j], ["(1+2j)", "0j", "1j"]),
        ([Path("a"), None, float("inf")], ["a", None, None]),
        ([{"a": 1}, b"b", pd.Timestamp("2020-01-01")], ["{'a': 1}", "b'b'", "2020-01-01 00:00:00"]),
        (pd.Categorical([3, 1, None]), [3, 1, None]),
        (pd.period_range("2020-01", periods=3, freq="M"), ["2020-01", "2020-02", "2020-03"]),
        (pd.arrays.SparseArray([0.0, 1.0, np.nan]), [0.0, 1.0, None]),
    ],
)
def test_what_arrow_has_no_plain_type_for(tmp_path, column, expected):
    series = pd.Series(column, dtype=object) if isinstance(column, list) else pd.Series(column)
    found = through(tmp_path / "t.arrow", image_set(("a", "b", "c"), None, pd.DataFrame({"x": series})))
    assert found.columns()["x"].tolist() == expected
    assert found.columns()["x"].dtype == object


KINDS = ["bool", "int16", "uint64", "float32", "float64", "datetime64[ns]", "timedelta64[us]"]


@many(100)
@given(
    names=st.lists(st.text(st.characters(), max_size=4), min_size=1, max_size=5),
    kinds=st.lists(st.sampled_from(KINDS), max_size=3),
    others=st.lists(st.none() | st.integers() | st.text(max_size=3) | st.booleans(), min_size=5, max_size=5),
    seed=st.integers(0, 2**32),
    mapped=st.booleans(),
)
def test_made_up_tables_are_found_again(tmp_path_factory, names, kinds, others, seed, mapped):
    count, random = len(names), np.random.default_rng(seed)
    columns = {"any": np.array([*others, None][:count], dtype=object), "text": np.array(names, dtype=object)}
    for n, kind in enumerate(kinds):
        of_bytes = np.dtype("uint8" if kind == "bool" else kind).itemsize * count
        noise = np.frombuffer(random.bytes(of_bytes), "uint8")
        columns[f"{kind} {n}"] = noise > 99 if kind == "bool" else noise.view(kind)
    table = pd.DataFrame(columns)
    images = image_set(tuple(names), None, table)
    found = through(tmp_path_factory.getbasetemp() / "made.arrow", images, mapped)
    assert found.names == tuple(names)
    pd.testing.assert_frame_equal(found.columns(), table, check_exact=True)


# --- refused ------------------------------------------------------------------------------------------------------


def taken_apart(found):
    """Read all that there is."""
    parts = [list(part) for part in (found.labels, found.files, found.files_from_here) if part is not None]
    return len(found), parts, found.columns()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a table with columns of all types."""
    path = tmp_path_factory.mktemp("whole") / "t.arrow"
    table = pd.DataFrame({key: pd.Series(values) for key, values in WITH_TYPES.items()})
    files = [Path(f"/pictures/{n}.png") for n in range(3)]
    write_table(path, image_set(("a", "b", "c"), ["x", "y", "x"], table, files), path.parent)
    return path.read_bytes()


@many(500)
@given(
    how=st.sampled_from(["flip", "flip", "flip", "cut", "grown", "zeros"]),
    seed=st.integers(0, 2**64),
    mapped=st.booleans(),
)
@example(how="zeros", seed=649, mapped=False)
def test_changed_files_are_refused_or_read(tmp_path_factory, whole, how, seed, mapped):
    """Bits flipped and ends cut behind the back of every checksum: a table of the right form, or words."""
    changed, random = bytearray(whole), np.random.default_rng(seed)
    at = int(random.integers(len(changed)))
    if how == "flip":
        for place in random.integers(0, len(changed), random.integers(1, 4)):
            changed[place] ^= 1 << random.integers(8)
    elif how == "zeros":
        changed[at : at + 16] = bytes(len(changed[at : at + 16]))
    else:
        changed = changed[:at] if how == "cut" else changed[:at] + bytes(8) + changed[at:]
    path = tmp_path_factory.getbasetemp() / "changed.arrow"
    path.unlink(missing_ok=True)  # an earlier one may be mapped still
    path.write_bytes(changed)
    try:
        count, parts, columns = taken_apart(read_table(path, mapped))
    except ValueError as error:
        if len(str(error)) < 20:
            raise AssertionError(f"refused without words: {error!r}") from error
    else:
        assert all(len(part) == count for part in parts)
        assert columns is None or len(columns) == count


def written_by_hand(path, columns, said, metadata=True):
    schema = pa.schema(
        [(name, column.type) for name, column in columns],
        metadata={b"dmlviz": json.dumps(said).encode()} if metadata else None,
    )
    with pa.ipc.new_file(path, schema) as writer:
        writer.write_table(pa.Table.from_arrays([column for _, column in columns], schema=schema))


class Runs(pa.ExtensionType):
    """An extension type that a file may name."""

    def __init__(self):
        super().__init__(pa.int64(), "tests.runs")

    def __arrow_ext_serialize__(self):
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type, serialized):
        return cls()


NAMES = ("name", pa.array(["a", "b"]))
PLAIN = {"version": 1, "labels": False, "files": False, "columns": []}


def with_column(values, was):
    return [NAMES, ("x", values)], PLAIN | {"columns": [{"name": "x", "was": was}]}


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (([NAMES], PLAIN | {"version": 2}), "its version is 2, this version of dmlviz reads 1"),
        (([NAMES], []), "list indices"),
        (([NAMES], {"version": 1}), "labels"),
        (([NAMES], PLAIN | {"labels": True}), "its columns are 'name'"),
        (([NAMES], PLAIN | {"columns": [{"name": "x", "was": "numbers"}]}), "its columns are 'name'"),
        (([("x", NAMES[1])], PLAIN), "its columns are 'x'"),
        (([("name", pa.array([1, 2]))], PLAIN), "a column of texts holds int64"),
        (([("name", pa.array(["a", None]))], PLAIN), "1 texts are missing"),
        (([("name", pa.array([b"\xff", b"a"]))], PLAIN), "decode"),
        (([("name", NAMES[1].dictionary_encode())], PLAIN), "the column 'name' holds dictionary"),
        (with_column(pa.array(["a", "b"]).dictionary_encode(), "texts"), "the column 'x' holds dictionary"),
        (with_column(pa.nulls(2), "objects"), "the column 'x' holds null"),
        (with_column(pa.array([[1], [2]]), "JSON"), "the column 'x' holds list"),
        (with_column(pa.array([{"a": 1}] * 2), "JSON"), "the column 'x' holds struct"),
        (with_column(pa.array([1, None]), "numbers"), "1 numbers are missing"),
        (with_column(pa.array([1, 2]), "texts"), "a column of texts holds int64"),
        (with_column(pa.array(["a", "b"]), "numbers"), "a column of string is said to be 'numbers'"),
        (with_column(pa.array([1, 2]), "category"), "a column of int64 is said to be 'category'"),
        (with_column(pa.array(["a", "b"]), ["texts"]), "unhashable|is said to be"),
        (with_column(pa.array(["1", "{"]), "JSON"), "Expecting property name"),
        (with_column(pa.array(["a", "a"]), {"categories": ["a", "a"], "ordered": True}), "unique"),
        (with_column(pa.array(["a", "b"]), {"categories": "ab", "ordered": True}), "are not texts"),
        (
            with_column(pa.array(["a", "b"]), {"categories": ["a"], "ordered": True}),
            "'b' is none of the categories",
        ),
        (with_column(pa.array([1, 2], pa.timestamp("s", tz="Nowhere/At all")), "times"), "zoneinfo|Nowhere"),
        (with_column(pa.array([2**62, 2], pa.int64()), "Int8"), ""),
        (
            ([NAMES, ("x", NAMES[1])], PLAIN | {"columns": [{"name": ["x"], "was": "texts"}]}),
            "neither a text nor a number",
        ),
    ],
)
def test_tables_that_are_none_of_ours(tmp_path, made, words):
    written_by_hand(tmp_path / "t.arrow", *made)
    with pytest.raises(ValueError, match=rf"{WORDS} \(.*{words}"):
        taken_apart(read_table(tmp_path / "t.arrow"))


def test_types_of_others_are_refused_known_or_not(tmp_path):
    column = pa.ExtensionArray.from_storage(Runs(), pa.array([1, 2]))
    written_by_hand(tmp_path / "t.arrow", *with_column(column, "numbers"))
    pa.register_extension_type(Runs())
    try:
        with pytest.raises(ValueError, match="the column 'x' holds extension"):
            read_table(tmp_path / "t.arrow")
    finally:
        pa.unregister_extension_type("tests.runs")
    found = read_table(tmp_path / "t.arrow")  # a type that nobody knows is what it is stored as
    assert found.columns()["x"].tolist() == [1, 2]


def test_offsets_that_lead_out_of_the_file_are_seen(tmp_path):
    path = tmp_path / "t.arrow"
    written_by_hand(path, [("name", pa.array(["a", "b"], pa.large_string()))], PLAIN)
    whole, offsets = path.read_bytes(), np.array([0, 1, 2], np.int64).tobytes()
    assert whole.count(offsets) == 1
    for wrong in ([0, 1, 2**40], [0, 3, 2], [0, -1, 2], [2**40, 1, 2]):
        path.unlink()
        path.write_bytes(whole.replace(offsets, np.array(wrong, np.int64).tobytes()))
        for mapped in (False, True):
            with pytest.raises(ValueError, match=rf"{WORDS} \(.*offset"):
                read_table(path, mapped)


def test_bytes_that_are_no_text_are_seen(tmp_path):
    offsets = pa.py_buffer(np.array([0, 1, 2], np.int64))
    column = pa.Array.from_buffers(pa.large_string(), 2, [None, offsets, pa.py_buffer(b"a\xff")])
    written_by_hand(tmp_path / "t.arrow", [("name", column)], PLAIN)
    with pytest.raises(ValueError, match=rf"{WORDS} \(.*UTF8"):
        read_table(tmp_path / "t.arrow")


@pytest.mark.parametrize("content", [b"", b"ARROW1", b"hello " * 99, bytes(4096), b"\x89PNG\r\n\x1a\n"])
@pytest.mark.parametrize("mapped", [False, True])
def test_other_files_are_refused(tmp_path, content, mapped):
    (tmp_path / "t.arrow").write_bytes(content)
    with pytest.raises(ValueError, match=WORDS):
        read_table(tmp_path / "t.arrow", mapped)
    written_by_hand(tmp_path / "t.arrow", [NAMES], PLAIN, metadata=False)
    with pytest.raises(ValueError, match=WORDS):
        read_table(tmp_path / "t.arrow", mapped)


@pytest.mark.skipif(sys.platform != "linux", reason="maps are read from /proc")
def test_mapped_is_mapped(tmp_path, images):
    path = tmp_path / "t.arrow"
    found = through(path, images, mapped=True)
    assert str(path) in Path("/proc/self/maps").read_text()
    path.unlink()  # what is mapped stays readable
    assert list(found.labels) == ["x", "y", "x"]
    del found
    assert str(path) not in Path("/proc/self/maps").read_text()
