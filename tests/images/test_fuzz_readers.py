"""Made-up bytes in the place of every list that the readers of data sets read.

A reader gives an image set or refuses in words; whatever it gives lies inside the folder.
"""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dmlviz.images import ImageSet, lfw_pairs, oxford_queries

REFUSALS = (ValueError, FileNotFoundError)
LISTS = {
    "images.txt": "1 a/x.png\n2 b/y.png\n",
    "image_class_labels.txt": "1 1\n2 101\n",
    "classes.txt": "1 001.A\n101 101.B\n",
    "train_test_split.txt": "1 1\n2 0\n",
    "bounding_boxes.txt": "1 0.0 1.0 2.0 3.0\n2 0.0 1.0 2.0 3.0\n",
    "Ebay_test.txt": "image_id class_id super_class_id path\n1 1 1 a/x.png\n2 7 2 b/y.png\n",
    "list_eval_partition.txt": "2\nimage_name item_id evaluation_status\na/x.png id_1 query\nb/y.png id_1 gallery\n",
    "val-19zl.csv": "a/x.png,b/y.png\n",
    "anno_train.csv": "x.png,1,1,2,2,1\n",
    "anno_test.csv": "y.png,1,1,2,2,2\n",
    "names.csv": "AM General Hummer SUV 2000\nAcura RL Sedan 2012\n",
    "all_souls_1_query.txt": "oxc1_x 0 0 2 2\n",
    "pairs.txt": "1\t1\nAnn\t1\t2\nAnn\t1\tBo\t1\n",
}
READ = {
    "images.txt": lambda root: ImageSet.from_cub(root, "all"),
    "Ebay_test.txt": lambda root: ImageSet.from_sop(root),
    "list_eval_partition.txt": lambda root: ImageSet.from_in_shop(root, "query"),
    "val-19zl.csv": lambda root: ImageSet.from_cvusa(root)[0],
    "anno_train.csv": lambda root: ImageSet.from_cars196(root, "all"),
    "all_souls_1_query.txt": lambda root: oxford_queries(root / "images", root),
    "pairs.txt": lambda root: lfw_pairs(root / "pairs.txt", ImageSet.from_lfw(root / "lfw")),
}
SAME = {
    "image_class_labels.txt": "images.txt",
    "classes.txt": "images.txt",
    "train_test_split.txt": "images.txt",
}
SAME |= {"bounding_boxes.txt": "images.txt", "anno_test.csv": "anno_train.csv", "names.csv": "anno_train.csv"}

WORDS = st.sampled_from(
    [
        "1",
        "2",
        "-1",
        "0",
        "9" * 30,
        "1.5",
        "nan",
        "inf",
        "1e9",
        "",
        " ",
        "\t",
        ",",
        "/",
        "..",
        "../",
        "/etc/passwd",
        "~",
        "~root/x",
        "C:\\x",
        "a/x.png",
        "b/y.png",
        "x.png",
        "query",
        "train",
        "id_1",
        "oxc1_x",
        "Ann",
        "\r",
        "\n",
        "\n\n",
        "\ufeff",
        "\x00",
        "\x1c",
        "\u2028",
        "é",
        "²",
        "٣",
        "a" * 300,
        "a/../../x.png",
        "img\\..\\x",
        '"',
        "'",
    ]
)
TEXT = st.lists(WORDS | st.text(max_size=3), max_size=25).flatmap(
    lambda words: st.sampled_from([" ", "", ",", "\t", "\n"]).map(lambda between: between.join(words))
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("lists")
    people = ("lfw/Ann/Ann_0001.png", "lfw/Ann/Ann_0002.png", "lfw/Bo/Bo_0001.png")
    for name in (
        "a/x.png",
        "b/y.png",
        "images/a/x.png",
        "images/b/y.png",
        "train/x.png",
        "test/y.png",
        *people,
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 3)).save(root / name)
    for name, text in LISTS.items():
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize("name", READ)
def test_the_lists_as_they_are_can_be_read(root, name):
    assert len(READ[name](root)) >= 1


@st.composite
def contents(draw, whole):
    """Bytes at random, odd words, or the list itself with a piece cut, doubled or replaced."""
    sort = draw(st.sampled_from(["bytes", "words", "piece", "piece", "flip"]))
    if sort == "bytes":
        return draw(st.binary(max_size=120))
    if sort == "words":
        return draw(TEXT).encode("utf-8", "surrogatepass")
    data = whole.encode()
    first = draw(st.integers(0, len(data) - 1))
    if sort == "flip":
        return data[:first] + bytes([data[first] ^ (1 << draw(st.integers(0, 7)))]) + data[first + 1 :]
    last = draw(st.integers(first, len(data)))
    return data[:first] + draw(TEXT).encode("utf-8", "surrogatepass") + data[last:]


@pytest.mark.parametrize("name", LISTS)
@settings(deadline=None, max_examples=150, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_list_makes_a_reader_stumble_or_leave_the_folder(root, name, data):
    file = root / name
    try:
        file.write_bytes(data.draw(contents(LISTS[name])))
        said, read = None, None
        try:
            read = READ[SAME.get(name, name)](root)
        except REFUSALS as error:
            said = str(error)
        assert said is None or (len(said) > 20 and "codec" not in said), said
        if isinstance(read, ImageSet):
            inside = [path.resolve().is_relative_to(root.resolve()) for path in read.files or ()]
            assert all(inside)
            assert len(read.names) == len(read.table) == len(read.labels)
            assert not any(Path(one).is_absolute() and not one.startswith(str(root)) for one in read.names)
    finally:
        file.write_text(LISTS[name])
