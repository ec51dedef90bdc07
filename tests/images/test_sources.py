"""Where image sets come from: folders, data frames, datasets of other libraries."""

import csv
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import dmlviz.images as room
from dmlviz.images import ImageReadError, ImageSet

REALDATA = Path(__file__).parents[2].parent / "shared" / "realdata"


def put(path, grey=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 3), grey).save(path)
    return path


# --- folders --------------------------------------------------------------------------------------


def test_one_folder_per_class(tmp_path):
    for name in ["b/img10.png", "b/img2.png", "a/deep/er/x.JPG", "a/y.jpeg", ".cache/z.png", "b/.hidden.png"]:
        put(tmp_path / name)
    (tmp_path / "a" / "notes.txt").write_text("not an image")
    images = ImageSet.from_folder(tmp_path)
    assert images.names == ("a/deep/er/x.JPG", "a/y.jpeg", "b/img2.png", "b/img10.png")
    assert images.labels.tolist() == ["a", "a", "b", "b"]
    assert images[0].shape == (3, 4, 3)


def test_a_flat_folder_has_no_labels(tmp_path):
    for grey, name in enumerate(["3.png", "20.png", "100.png"]):
        put(tmp_path / name, grey)
    (tmp_path / "empty").mkdir()
    images = ImageSet.from_folder(str(tmp_path))
    assert images.names == ("3.png", "20.png", "100.png")
    assert images.labels is None
    assert [int(image[0, 0, 0]) for image in images] == [0, 1, 2]


def test_labelled_may_be_said(tmp_path):
    put(tmp_path / "a" / "1.png")
    put(tmp_path / "b" / "1.png")
    assert ImageSet.from_folder(tmp_path, labelled=False).labels is None
    put(tmp_path / "loose.png")
    assert ImageSet.from_folder(tmp_path, labelled=False).names == ("a/1.png", "b/1.png", "loose.png")
    for labelled in (None, True):
        with pytest.raises(
            ValueError, match=r"1 images lie directly in .*'loose\.png', while 2 lie in folders"
        ):
            ImageSet.from_folder(tmp_path, labelled=labelled)


def test_a_folder_of_empty_class_folders_is_described(tmp_path):
    for name in ("robin", "wren"):
        (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=r"it holds 2 empty folders\. Point at"):
        ImageSet.from_folder(tmp_path)


def test_folders_that_are_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder '.*nowhere'; looked from .* check the spelling"):
        ImageSet.from_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"no image lies in .*: it is empty\. Point at a folder of images"):
        ImageSet.from_folder(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"found 1 files of other kinds \(\.txt\); looked for \.avif, \.bmp"):
        ImageSet.from_folder(tmp_path)
    with pytest.raises(NotADirectoryError, match="is a file; expected the folder that holds the images"):
        ImageSet.from_folder(tmp_path / "a" / "notes.txt")


def test_an_empty_class_folder_is_named_and_left_out(tmp_path):
    put(tmp_path / "full" / "1.png")
    (tmp_path / "hollow <b>").mkdir()
    with pytest.warns(
        UserWarning, match=r"1 class folder\(s\) of .* hold no image and are left out: 'hollow <b>'"
    ) as told:
        images = ImageSet.from_folder(tmp_path)
    assert told[0].filename == __file__
    assert images.labels.tolist() == ["full"]


def test_the_files_of_a_set(tmp_path, monkeypatch):
    one, two = put(tmp_path / "a" / "1.png"), put(tmp_path / "b" / "2.png")
    monkeypatch.chdir(tmp_path)
    images = ImageSet.from_folder(".")
    assert images.files == (one, two)
    assert images.subset([1, 0]).subset([0]).files == (two,)
    assert ImageSet.from_arrays([images[0]]).files is None


def test_links_stay_inside(tmp_path):
    outside = put(tmp_path / "outside" / "x.png")
    root = tmp_path / "root"
    put(root / "a" / "1.png")
    (root / "b").mkdir()
    (root / "b" / "same.png").symlink_to(root / "a" / "1.png")
    assert ImageSet.from_folder(root).names == ("a/1.png", "b/same.png")
    (root / "b" / "out.png").symlink_to(outside)
    with pytest.raises(
        ValueError, match=r"symbolic link .*out\.png' leads out of the folder, to .*follow_links=True"
    ):
        ImageSet.from_folder(root)
    (root / "c").symlink_to(outside.parent)
    assert ImageSet.from_folder(root, follow_links=True).labels.tolist() == ["a", "b", "b", "c"]


def test_a_link_in_a_circle_ends(tmp_path):
    put(tmp_path / "a" / "1.png")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert ImageSet.from_folder(tmp_path).names == ("a/1.png",)


def test_a_broken_link_is_told_when_it_is_read(tmp_path):
    (tmp_path / "gone.png").symlink_to(tmp_path / "never.png")
    with pytest.raises(ImageReadError, match=r"image 'gone\.png' cannot be read: there is no such file"):
        ImageSet.from_folder(tmp_path)[0]


def test_extensions_may_be_chosen(tmp_path):
    put(tmp_path / "a.png")
    put(tmp_path / "b.bmp")
    assert ImageSet.from_folder(tmp_path, extensions=["BMP"]).names == ("b.bmp",)
    assert ImageSet.from_folder(tmp_path, extensions=".png").names == ("a.png",)


def test_one_bad_file_does_not_spoil_the_set(tmp_path):
    put(tmp_path / "a.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n rubbish")
    images = ImageSet.from_folder(tmp_path)
    assert images[0].shape == (3, 4, 3)
    with pytest.raises(ImageReadError, match=r"image 'bad\.png' cannot be read") as caught:
        images[1]
    assert caught.value.name == "bad.png"


def test_a_copied_folder_has_the_same_fingerprint(tmp_path):
    for root in ("one", "two"):
        put(tmp_path / root / "a.png")
    os.utime(tmp_path / "two" / "a.png", (1, 1))
    one, two = (ImageSet.from_folder(tmp_path / root) for root in ("one", "two"))
    assert one.fingerprint == two.fingerprint
    Image.new("L", (90, 90), 3).save(tmp_path / "two" / "a.png")
    assert one.fingerprint != two.fingerprint
    (tmp_path / "two" / "a.png").unlink()
    assert len(two.fingerprint) == 64


def test_names_with_html_and_other_letters(tmp_path):
    name = "<i>Zaunkönig & Co '1'.png"
    put(tmp_path / "<script>" / name)
    images = ImageSet.from_folder(tmp_path)
    assert images.names == (f"<script>/{name}",)
    assert images.labels.tolist() == ["<script>"]
    assert images[0].shape == (3, 4, 3)


# --- frames ---------------------------------------------------------------------------------------


def frame_of(tmp_path):
    put(tmp_path / "one.png", 1)
    put(tmp_path / "sub" / "two.png", 2)
    return pd.DataFrame(
        {"path": ["sub/two.png", "one.png"], "label": ["b", "a"], "weight": [2.5, 1.5]}, index=[7, 3]
    )


def test_a_frame_of_paths(tmp_path):
    images = ImageSet.from_frame(frame_of(tmp_path), root=tmp_path)
    assert images.names == ("sub/two.png", "one.png")
    assert images.labels.tolist() == ["b", "a"]
    assert [int(image[0, 0, 0]) for image in images] == [2, 1]
    assert images.table.columns.tolist() == ["name", "label", "weight"]
    assert images.table.weight.tolist() == [2.5, 1.5]
    assert images.table.index.tolist() == [0, 1]


def test_a_frame_without_root_and_with_other_columns(tmp_path, monkeypatch):
    frame = frame_of(tmp_path).rename(columns={"path": "file", "label": "kind"}).assign(name=["n", "m"])
    monkeypatch.chdir(tmp_path)
    images = ImageSet.from_frame(frame, image="file", label="kind")
    assert images.labels.tolist() == ["b", "a"]
    assert images.table.name_given.tolist() == ["n", "m"]
    assert int(images[0][0, 0, 0]) == 2
    without = ImageSet.from_frame(frame, image="file", label=None)
    assert without.labels is None
    assert without.table.columns.tolist() == ["name", "label", "kind", "weight", "name_given"]


def test_absolute_paths_below_root_are_named_relative_to_it(tmp_path):
    frame = frame_of(tmp_path)
    frame["path"] = [str(tmp_path / path) for path in frame["path"]]
    assert ImageSet.from_frame(frame, root=tmp_path).names == ("sub/two.png", "one.png")


def test_frames_that_are_wrong(tmp_path):
    frame = frame_of(tmp_path)
    with pytest.raises(
        KeyError, match=r"no column 'image' for image; it has: path, label, weight. Name it with image="
    ):
        ImageSet.from_frame(frame, image="image", root=tmp_path)
    with pytest.raises(
        KeyError, match=r"no column 'kind' for label; .* or label=None for a set without labels"
    ):
        ImageSet.from_frame(frame, label="kind", root=tmp_path)
    with pytest.raises(TypeError, match=r"expected a pandas.DataFrame with one row per image, got list"):
        ImageSet.from_frame([1, 2])
    with pytest.raises(ValueError, match="at least one image, got a frame without rows"):
        ImageSet.from_frame(frame[:0], root=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no folder '.*elsewhere'"):
        ImageSet.from_frame(frame, root=tmp_path / "elsewhere")
    with pytest.raises(
        FileNotFoundError, match=r"none of the paths in the column 'path' exists, from 'sub/two.png' on"
    ):
        ImageSet.from_frame(frame)
    with pytest.raises(
        ValueError, match=r"'path' has no path \(None or NaN\) in 1 of 2 rows, first in row 1"
    ):
        ImageSet.from_frame(frame.assign(path=["one.png", None]), root=tmp_path)
    with pytest.raises(ValueError, match="for 1 of 2: ids 0; leave those images out"):
        ImageSet.from_frame(frame.assign(label=[np.nan, "a"]), root=tmp_path)


@pytest.mark.parametrize("escape", ["../outside.png", "/etc/hostname", "sub/../../outside.png"])
def test_paths_of_a_frame_stay_in_its_root(tmp_path, escape):
    put(tmp_path / "outside.png")
    put(tmp_path / "root" / "sub" / "in.png")
    frame = pd.DataFrame({"path": ["sub/in.png", escape], "label": ["a", "b"]})
    with pytest.raises(ValueError, match=r"leads out of root .*; leave root out if that is meant"):
        ImageSet.from_frame(frame, root=tmp_path / "root")


# --- datasets of other libraries --------------------------------------------------------------------


class Pictures:
    """What a torchvision dataset looks like from outside."""

    def __init__(self, targets, classes=None, listed=True):
        self.given, self.asked = targets, 0
        if classes is not None:
            self.classes = classes
        if listed:
            self.targets = targets

    def __len__(self):
        return len(self.given)

    def __getitem__(self, i):
        self.asked += 1
        return Image.new("L", (4, 3), i), self.given[i]


def test_a_torchvision_dataset():
    dataset = Pictures([1, 0, 1], ["cat", "dog"])
    images = ImageSet.from_torchvision(dataset)
    assert images.labels.tolist() == ["dog", "cat", "dog"]
    assert images.names == ("0", "1", "2")
    assert int(images[2][0, 0, 0]) == 2
    assert dataset.asked == 2  # once to look at it, once for image 2: targets are not read one by one


@pytest.mark.parametrize(
    ("targets", "classes", "labels"),
    [
        ([2, 0], None, ["2", "0"]),
        (["x", "y"], None, ["x", "y"]),
        (np.array([1, 0]), ["a", "b"], ["b", "a"]),
        ([np.int64(1), np.array(0)], ["a", "b"], ["b", "a"]),
    ],
)
@pytest.mark.parametrize("listed", [True, False])
def test_targets_of_many_kinds(targets, classes, labels, listed):
    assert ImageSet.from_torchvision(Pictures(targets, classes, listed)).labels.tolist() == labels


def test_targets_that_are_no_labels():
    with pytest.raises(ValueError, match=r"target of item 1 is tuple, which is no class label; .*labels="):
        ImageSet.from_torchvision(Pictures([0, (1, 2)]))
    with pytest.raises(ValueError, match=r"target of item 1 is 2, but the dataset names 2 classes"):
        ImageSet.from_torchvision(Pictures([0, 2], ["a", "b"]))
    assert ImageSet.from_torchvision(Pictures([0, (1, 2)]), labels=["p", "q"]).labels.tolist() == ["p", "q"]
    with pytest.raises(ValueError, match="one label per image: 2 images, got 1 labels"):
        ImageSet.from_torchvision(Pictures([0, 1]), labels=["p"])
    with pytest.raises(ValueError, match="one name per image: 2 images, got 1 names"):
        ImageSet.from_torchvision(Pictures([0, 1]), names=["p"])


def test_real_torchvision_datasets(tmp_path):
    from torch.utils.data import Subset
    from torchvision.datasets import FakeData, ImageFolder
    from torchvision.transforms import ToTensor

    for name in ["owl/1.png", "owl/2.png", "wren/1.png"]:
        put(tmp_path / name, int(name[-5]))
    folder = ImageFolder(tmp_path)
    images = ImageSet.from_torchvision(folder)
    assert images.names == ("owl/1.png", "owl/2.png", "wren/1.png")
    assert images.labels.tolist() == ["owl", "owl", "wren"]
    some = ImageSet.from_torchvision(Subset(Subset(folder, [2, 1, 0]), [0, 1]))
    assert some.names == ("wren/1.png", "owl/2.png")
    assert some.labels.tolist() == ["wren", "owl"]
    assert int(some[1][0, 0, 0]) == 2
    assert len(ImageSet.from_torchvision(FakeData(3, (3, 8, 8), 4))) == 3
    with pytest.raises(
        TypeError, match=r"item 0.*got torch\.Tensor; build the dataset without its transform"
    ):
        ImageSet.from_torchvision(ImageFolder(tmp_path, transform=ToTensor()))
    changed = ImageFolder(tmp_path, target_transform=lambda target: 1 - target)
    assert ImageSet.from_torchvision(changed).labels.tolist() == ["wren", "wren", "owl"]


@pytest.mark.parametrize("maker", [ImageSet.from_torchvision, ImageSet.from_huggingface])
def test_datasets_without_an_order(maker):
    with pytest.raises(TypeError, match="a length and items by position, got generator; streaming"):
        maker(x for x in range(3))


def test_an_empty_dataset_and_one_without_targets():
    with pytest.raises(ValueError, match="at least one image, got an empty dataset"):
        ImageSet.from_torchvision([])
    with pytest.raises(ValueError, match=r"expected items \(picture, target\), got Image at item 0"):
        ImageSet.from_torchvision([Image.new("L", (2, 2))])


class Features(dict):
    """What `datasets.Features` looks like from outside."""


class ClassLabel:
    names = ("cat", "dog")


class Split:
    """What one split of a Hugging Face dataset looks like from outside."""

    def __init__(self, columns, features=None):
        self.columns, self.features = columns, features or dict.fromkeys(columns)
        self.column_names = list(columns)

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __getitem__(self, key):
        return self.columns[key] if isinstance(key, str) else {n: c[key] for n, c in self.columns.items()}


def pictures(n):
    return [Image.new("RGB", (4, 3), (i, 0, 0)) for i in range(n)]


def test_a_huggingface_split(tmp_path):
    split = Split({"image": pictures(3), "label": [1, 0, 1]}, {"image": None, "label": ClassLabel()})
    images = ImageSet.from_huggingface(split)
    assert images.labels.tolist() == ["dog", "cat", "dog"]
    assert images.names == ("0", "1", "2")
    assert int(images[1][0, 0, 0]) == 1
    png = put(tmp_path / "x.png", 5)
    stored = [{"bytes": png.read_bytes(), "path": None}, {"bytes": None, "path": str(png)}, str(png)]
    named = ImageSet.from_huggingface(Split({"img": stored}), image="img", label=None, names=["a", "b", "c"])
    assert [int(image[0, 0, 0]) for image in named] == [5, 5, 5]
    assert named.labels is None


def test_huggingface_splits_that_are_wrong():
    split = Split({"img": pictures(2), "fine": [0, -1]}, {"img": None, "fine": ClassLabel()})
    with pytest.raises(
        KeyError, match=r"no column 'image' for image; it has: img, fine. Name it with image="
    ):
        ImageSet.from_huggingface(split)
    with pytest.raises(KeyError, match=r"no column 'label' for label; .* or label=None"):
        ImageSet.from_huggingface(split, image="img")
    with pytest.raises(ValueError, match="for 1 of 2: ids 1"):
        ImageSet.from_huggingface(split, image="img", label="fine")
    with pytest.raises(
        TypeError, match=r"dict of splits \('train', 'test'\); choose one, e.g. dataset\['train'\]"
    ):
        ImageSet.from_huggingface({"train": split, "test": split})


@pytest.mark.parametrize("held", [None, {"bytes": None, "path": None}])
def test_a_hole_in_a_dataset_is_told_when_it_is_read(held):
    images = ImageSet.from_huggingface(Split({"image": [*pictures(1), held]}), label=None)
    assert images[0].shape == (3, 4, 3)
    with pytest.raises(ImageReadError, match="image '1' cannot be read: the dataset holds n"):
        images[1]


# --- the room, and photographs ------------------------------------------------------------------------


def test_the_room_says_what_it_offers():
    assert room.__all__ == sorted(room.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Imageset'; it offers BirdSet, FacePairs"):
        _ = room.Imageset


@pytest.mark.realdata
@pytest.mark.skipif(not REALDATA.exists(), reason="no photographs beside the project")
@pytest.mark.parametrize(
    ("gallery", "folder"), [("birds_cub10", "images"), ("faces_lfw10", "images_112x112")]
)
def test_photographs_from_a_folder_and_from_a_frame_are_the_same(gallery, folder):
    root = REALDATA / gallery / folder
    with (REALDATA / gallery / "labels.csv").open() as file:
        rows = {row["file"]: row["label"] for row in csv.DictReader(file)}
    images = ImageSet.from_folder(root)
    assert dict(zip(images.names, images.labels.tolist(), strict=True)) == rows
    framed = ImageSet.from_frame(pd.read_csv(REALDATA / gallery / "labels.csv"), image="file", root=root)
    assert sorted(framed.names) == sorted(images.names)
    for i in range(0, len(images), 29):
        assert images[i].dtype == np.uint8
        np.testing.assert_array_equal(images[i], framed[framed.names.index(images.names[i])])


def test_a_name_that_no_file_can_have_is_a_missing_file(tmp_path):
    frame = pd.DataFrame({"path": ["a" * 300 + ".png"], "label": ["b"]})
    with pytest.raises(FileNotFoundError):
        ImageSet.from_frame(frame, root=tmp_path)
