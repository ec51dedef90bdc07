"""ImageSet itself: order, ids, labels, table, subsets, fingerprints, other processes."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch

from dmlviz.images import ImageReadError, ImageSet


def coloured(n=4, size=(6, 5)):
    """n images; the red channel of image i is i everywhere."""
    images = np.zeros((n, *size, 3), np.uint8)
    images[..., 0] = np.arange(n)[:, None, None]
    return images


def test_an_id_is_the_position():
    images = ImageSet.from_arrays(coloured(4), labels=["b", "a", "b", "c"])
    assert len(images) == 4
    assert [int(image[0, 0, 0]) for image in images] == [0, 1, 2, 3]
    assert int(images[np.int64(2)][0, 0, 0]) == 2
    assert images.names == ("image 0", "image 1", "image 2", "image 3")
    assert images.labels.tolist() == ["b", "a", "b", "c"]
    assert repr(images) == "ImageSet(4 images, 3 classes)"


@pytest.mark.parametrize("i", [-1, 4, 10**9, np.int64(-2)])
def test_an_unknown_id(i):
    with pytest.raises(IndexError, match=rf"no image has the id {int(i)}; the ids of this set are 0 to 3"):
        ImageSet.from_arrays(coloured(4))[i]


@pytest.mark.parametrize(
    ("i", "said"), [("2", "got str"), (1.0, "got float"), (True, "got bool"), (slice(2), "got slice")]
)
def test_an_id_is_a_whole_number(i, said):
    with pytest.raises(TypeError, match=rf"whole number, {said}; for several images use images\.subset"):
        ImageSet.from_arrays(coloured(4))[i]


def test_an_image_may_be_written_to_without_changing_the_set():
    images = ImageSet.from_arrays(coloured(1))
    images[0][:] = 99
    assert int(images[0].max()) == 0


def test_labels_become_text_and_cannot_be_written_to():
    images = ImageSet.from_arrays(coloured(3), labels=np.array([3, 1, 2]))
    assert images.labels.tolist() == ["3", "1", "2"]
    with pytest.raises(ValueError, match="read-only"):
        images.labels[0] = "x"


def test_labels_of_another_length():
    with pytest.raises(ValueError, match="one label per image: 4 images, got 3 labels"):
        ImageSet.from_arrays(coloured(4), labels=[1, 2, 3])


def test_names_of_another_length():
    with pytest.raises(ValueError, match="one name per image: 4 images, got 5 names"):
        ImageSet.from_arrays(coloured(4), names=list("abcde"))


@pytest.mark.parametrize("missing", [None, float("nan"), np.nan, pd.NA, pd.NaT])
def test_a_missing_label_is_refused_with_its_ids(missing):
    with pytest.raises(ValueError, match=r"for 2 of 4: ids 1, 3; leave those images out"):
        ImageSet.from_arrays(coloured(4), labels=["a", missing, "b", missing])


def test_the_table_has_name_and_label_first():
    table = pd.DataFrame({"wing": [1.5, 2.5], "label": ["x", "y"], "seen": pd.Categorical(["p", "q"])})
    images = ImageSet(lambda i: coloured(2)[i], ["one", "two"], ["a", "b"], table)
    assert list(images.table.columns) == ["name", "label", "wing", "seen"]
    assert images.table.index.name == "id"
    assert images.table.label.tolist() == ["a", "b"]
    assert images.table.seen.dtype == "category"
    fresh = images.table
    fresh.loc[0, "name"] = "changed"
    assert images.table.loc[0, "name"] == "one"


def test_the_table_of_a_set_without_labels():
    images = ImageSet.from_arrays(coloured(2))
    assert images.labels is None
    assert images.table.label.tolist() == [None, None]
    assert repr(images) == "ImageSet(2 images, no labels)"


def test_a_table_of_another_length():
    with pytest.raises(ValueError, match="one row of the table per image: 2 images, got 3 rows"):
        ImageSet(lambda i: coloured(2)[i], ["one", "two"], None, pd.DataFrame({"a": [1, 2, 3]}))


def test_a_subset_is_renumbered_and_keeps_its_rows():
    table = pd.DataFrame({"wing": [10, 11, 12, 13]})
    images = ImageSet(lambda i: coloured(4)[i], list("wxyz"), ["a", "a", "b", "b"], table)
    some = images.subset([3, 1])
    assert [int(image[0, 0, 0]) for image in some] == [3, 1]
    assert some.names == ("z", "x")
    assert some.labels.tolist() == ["b", "a"]
    assert some.table.wing.tolist() == [13, 11]
    assert some.table.index.tolist() == [0, 1]
    again = some.subset(np.array([False, True]))
    assert again.names == ("x",)
    assert int(again[0][0, 0, 0]) == 1
    assert len(images.subset([])) == 0


def test_a_subset_of_what_is_not_there():
    images = ImageSet.from_arrays(coloured(4))
    with pytest.raises(IndexError, match="no image has the id 7"):
        images.subset([0, 7])
    with pytest.raises(IndexError, match="no image has the id -1"):
        images.subset([-1])
    with pytest.raises(ValueError, match="one truth value per image: 4 images, got 2 values"):
        images.subset([True, False])
    with pytest.raises(TypeError, match="list of ids or of truth values, got float64"):
        images.subset([0.0, 1.0])


def test_the_fingerprint_tells_sets_apart():
    images = coloured(3)
    base = ImageSet.from_arrays(images, labels=["a", "b", "c"])
    assert len(base.fingerprint) == 64
    assert base.fingerprint == ImageSet.from_arrays(list(images.copy()), labels=["a", "b", "c"]).fingerprint
    changed = images.copy()
    changed[2, 3, 3, 1] = 9
    others = [
        ImageSet.from_arrays(changed, labels=["a", "b", "c"]),
        ImageSet.from_arrays(images, labels=["a", "b", "d"]),
        ImageSet.from_arrays(images),
        ImageSet.from_arrays(images, labels=["a", "b", "c"], names=["x", "y", "z"]),
        base.subset([0, 1]),
        base.subset([2, 1, 0]),
    ]
    assert base.fingerprint not in {other.fingerprint for other in others}
    assert base.subset([0, 1, 2]).fingerprint == base.fingerprint
    lying, standing = (ImageSet.from_arrays([np.zeros(size, np.uint8)]) for size in [(4, 6), (6, 4)])
    assert lying.fingerprint != standing.fingerprint


@pytest.mark.parametrize("labels", [["a"], None])
def test_a_reader_that_returns_something_else_is_told(labels):
    images = ImageSet(lambda i: np.zeros((4, 4), np.float32), ["odd"], labels)
    with pytest.raises(TypeError, match=r"image 'odd': expected uint8 values 0..255, got float32"):
        images[0]


def test_names_may_hold_html():
    name = "<img src=x onerror=alert(1)>&amp;.png"
    images = ImageSet.from_arrays(coloured(1), names=[name], labels=["<b>"])
    assert images.names == (name,)
    assert images.labels.tolist() == ["<b>"]
    assert images.table.name[0] == name


def test_a_set_survives_pickling():
    images = ImageSet.from_arrays(coloured(3), labels=["a", "b", "c"]).subset([2, 0])
    again = pickle.loads(pickle.dumps(images))
    assert again.fingerprint == images.fingerprint
    np.testing.assert_array_equal(again[0], images[0])


def test_a_read_error_survives_pickling():
    error = pickle.loads(pickle.dumps(ImageReadError("a.png", "it is empty")))
    assert (error.name, error.reason) == ("a.png", "it is empty")
    assert "image 'a.png' cannot be read: it is empty. Replace it" in str(error)


def test_loader_workers_started_afresh_can_read_a_set():
    images = ImageSet.from_arrays(coloured(4))
    loader = torch.utils.data.DataLoader(images, batch_size=2, num_workers=1, multiprocessing_context="spawn")
    batches = [batch[:, 0, 0, 0].tolist() for batch in loader]
    assert batches == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("arrays", "error", "said"),
    [
        (np.zeros((2, 4, 4, 3), np.float32), TypeError, r"got float32; if it runs from 0 to 1"),
        ([np.zeros((4, 4, 3), np.float64)], TypeError, r"image 0: expected uint8 values 0..255, got float64"),
        ([np.zeros((4, 4, 3), np.uint16)], TypeError, r"got uint16; scale it to 0..255"),
        ([np.zeros((4, 4, 3), np.uint8), [[1]]], TypeError, r"image 1: expected a NumPy array .* got list"),
        ([np.zeros((4, 4, 4), np.uint8)], ValueError, r"got \(4, 4, 4\); channels come last"),
        ([np.zeros((3, 4, 5), np.uint8)], ValueError, r"image 0: expected shape \(H, W, 3\)"),
        ([np.zeros((0, 4, 3), np.uint8)], ValueError, r"image 0: expected at least one pixel"),
        (np.zeros((2, 3, 4, 4), np.uint8), ValueError, r"the images: expected shape"),
        (np.zeros((4, 4, 3), np.uint8), ValueError, r"shape \(N, H, W, 3\).*from_arrays\(\[image\]\)"),
        (np.zeros((9, 4, 4), np.uint8), ValueError, r"grey images come as a list"),
        ([], ValueError, r"at least one image, got none"),
        (np.zeros((0, 4, 4, 3), np.uint8), ValueError, r"at least one image, got none"),
    ],
)
def test_arrays_that_are_no_images(arrays, error, said):
    with pytest.raises(error, match=said):
        ImageSet.from_arrays(arrays)


def test_grey_arrays_and_arrays_of_many_sizes():
    images = ImageSet.from_arrays([np.full((2, 3), 7, np.uint8), np.zeros((1, 1, 3), np.uint8)])
    np.testing.assert_array_equal(images[0], np.full((2, 3, 3), 7))
    assert images[1].shape == (1, 1, 3)


def test_the_room_is_light_to_enter():
    import subprocess
    import sys

    told = "import sys, dmlviz.images; print(sorted({'torch', 'torchvision', 'pandas', 'plotly'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
