"""Folders as CUB-200-2011, Market-1501, LFW and CVUSA unpack, small ones written here."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dmlviz.images import ImageSet, lfw_pairs

REALDATA = Path(__file__).parents[2].parent / "shared" / "realdata"


def put(path, grey=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 3), grey).save(path)
    return path


# ---- CUB ---------------------------------------------------------------------------------------------------------

SPECIES = {
    1: "001.Black_footed_Albatross",
    2: "002.Laysan_Albatross",
    101: "101.White_Pelican",
    200: "200.Wren",
}
BIRDS = [  # id, class, official train
    (1, 1, 1),
    (2, 1, 0),
    (3, 2, 1),
    (10, 101, 0),
    (11, 101, 1),
    (12, 200, 0),
]


def cub(root, birds=BIRDS, boxes=True, official=True):
    lists = {name: [] for name in ("images", "image_class_labels", "train_test_split", "bounding_boxes")}
    for i, species, train in birds:
        name = f"{SPECIES[species]}/bird_{i:04d}.png"
        put(root / "images" / name, grey=i)
        lists["images"].append(f"{i} {name}")
        lists["image_class_labels"].append(f"{i} {species}")
        lists["train_test_split"].append(f"{i} {train}")
        lists["bounding_boxes"].append(f"{i} {i}.0 2.5 30.0 40.0")
    for name, lines in lists.items():
        if (name != "bounding_boxes" or boxes) and (name != "train_test_split" or official):
            (root / f"{name}.txt").write_text("\n".join(reversed(lines)) + "\n")
    (root / "classes.txt").write_text("".join(f"{n} {name}\n" for n, name in SPECIES.items()))
    return root


def test_cub_is_split_by_species(tmp_path):
    root = cub(tmp_path / "CUB_200_2011")
    train, test, every = (ImageSet.from_cub(root, split) for split in ("train", "test", "all"))
    assert sorted(set(train.labels)) == ["001.Black_footed_Albatross", "002.Laysan_Albatross"]
    assert sorted(set(test.labels)) == ["101.White_Pelican", "200.Wren"]
    assert (len(train), len(test), len(every)) == (3, 3, 6)
    assert ImageSet.from_cub(root).names == test.names  # the default is what results are reported on
    assert test.names[-1] == "images/101.White_Pelican/bird_0010.png"
    for images in (train, test, every):
        assert [int(image[0, 0, 0]) for image in images] == images.table["cub_id"].tolist()
    row = every.table.set_index("cub_id").loc[11]
    assert (row.class_id, row.label, bool(row.official_train)) == (101, "101.White_Pelican", True)
    assert (row.box_row, row.box_col, row.box_height, row.box_width) == (2.5, 11.0, 40.0, 30.0)


def test_cub_has_an_official_split_too(tmp_path):
    root = cub(tmp_path)
    ids = {s: set(ImageSet.from_cub(root, f"official-{s}").table["cub_id"]) for s in ("train", "test")}
    assert ids == {"train": {1, 3, 11}, "test": {2, 10, 12}}


def test_cub_without_the_optional_lists(tmp_path):
    images = ImageSet.from_cub(cub(tmp_path, boxes=False, official=False), "all")
    assert list(images.table.columns) == ["name", "label", "cub_id", "class_id"]
    with pytest.raises(FileNotFoundError, match=r"split='official-test' needs train_test_split\.txt"):
        ImageSet.from_cub(tmp_path, "official-test")


def test_cub_trees_that_are_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        ImageSet.from_cub(tmp_path / "none")
    (tmp_path / "attributes").mkdir()
    with pytest.raises(
        FileNotFoundError,
        match=r"lacks images, images\.txt, .*usually called CUB_200_2011; it holds attributes",
    ):
        ImageSet.from_cub(tmp_path)
    root = cub(tmp_path / "cub", BIRDS[:3])
    with pytest.raises(ValueError, match=r"unknown split 'val': expected one of 'train', 'test', 'all'"):
        ImageSet.from_cub(root, "val")
    with pytest.raises(ValueError, match=r"no image of .* belongs to split='test'; try split='all'"):
        ImageSet.from_cub(root, "test")
    (root / "image_class_labels.txt").write_text("1 1\n3 2\n")
    with pytest.raises(ValueError, match=r"image_class_labels\.txt' says nothing of 1 images .* image 2"):
        ImageSet.from_cub(root, "train")
    (root / "image_class_labels.txt").write_text("1 1\n2 77\n3 2\n")
    with pytest.raises(ValueError, match=r"does not name the classes \['77'\]"):
        ImageSet.from_cub(root, "train")
    (root / "image_class_labels.txt").write_text("1 1\n2 one\n3 2\n")
    with pytest.raises(ValueError, match=r"line 2 of .* must hold 'number number', it is '2 one'"):
        ImageSet.from_cub(root, "train")
    (root / "images.txt").write_text("1 ../../secret.png\n2 b.png\n3 c.png\n")
    (root / "image_class_labels.txt").write_text("1 1\n2 1\n3 1\n")
    with pytest.raises(ValueError, match="leads out of root"):
        ImageSet.from_cub(root, "train")
    (root / "images.txt").write_text("\n")
    with pytest.raises(ValueError, match="is empty"):
        ImageSet.from_cub(root, "train")


# ---- Market-1501 -------------------------------------------------------------------------------------------------


def test_market_knows_person_and_camera(tmp_path):
    for name in ("0002_c1s1_000451_03.jpg", "0002_c4s6_020001_02.jpg.jpg", "-1_c3s2_000100_01.jpg"):
        put(tmp_path / "bounding_box_test" / name)
    put(tmp_path / "bounding_box_test" / "0000_c6s4_002427_07.jpg")
    (tmp_path / "bounding_box_test" / "Thumbs.db").write_bytes(b"")
    put(tmp_path / "query" / "0002_c1s1_000451_00.jpg")
    put(tmp_path / "bounding_box_train" / "0007_c2s3_070952_01.jpg")
    gallery = ImageSet.from_market1501(tmp_path, "gallery")
    table = gallery.table.set_index("name")
    assert len(gallery) == 4
    row = table.loc["bounding_box_test/0002_c4s6_020001_02.jpg.jpg"]
    assert (row.label, row.person, row.camera, row.sequence, row["frame"], row.box, row.kind) == (
        ("0002", 2, 4, 6, 20001, 2, "person")
    )
    kinds = dict(zip(table["label"], table["kind"], strict=True))
    assert kinds == {"0002": "person", "-1": "junk", "0000": "distractor"}
    assert table["camera"].dtype == np.int64
    query, train = (ImageSet.from_market1501(tmp_path, part) for part in ("query", "train"))
    assert (query.labels.tolist(), query.table["camera"].tolist()) == (["0002"], [1])
    assert train.labels.tolist() == ["0007"]
    assert query[0].shape == (3, 4, 3)


def test_market_trees_that_are_wrong(tmp_path):
    put(tmp_path / "query" / "0002_c1s1_000451_00.jpg")
    with pytest.raises(FileNotFoundError, match=r"lacks bounding_box_test; .*Market-1501.*it holds query"):
        ImageSet.from_market1501(tmp_path, "gallery")
    with pytest.raises(ValueError, match=r"unknown part 'test': expected one of 'query', 'gallery', 'train'"):
        ImageSet.from_market1501(tmp_path, "test")
    put(tmp_path / "query" / "person7.jpg")
    with pytest.raises(
        ValueError, match=r"1 of 2 images in 'query' are not called .* 'person7\.jpg'; expected"
    ):
        ImageSet.from_market1501(tmp_path, "query")


# ---- LFW ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def faces(tmp_path):
    for person, count in (("Ann_Lee", 3), ("Bo", 2), ("Cy_de_Vries", 1)):
        for n in range(1, count + 1):
            put(tmp_path / "lfw" / person / f"{person}_{n:04d}.png")
    return ImageSet.from_lfw(tmp_path / "lfw")


def test_lfw_knows_person_and_number(faces):
    assert faces.labels.tolist() == ["Ann_Lee"] * 3 + ["Bo"] * 2 + ["Cy_de_Vries"]
    assert faces.table["number"].tolist() == [1, 2, 3, 1, 2, 1]


def test_lfw_pairs_become_ids_and_folds(faces, tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text("2\t1\nAnn_Lee\t1\t3\nAnn_Lee\t2\tBo\t1\nBo\t1\t2\nCy_de_Vries\t1\tBo\t2\n")
    pairs = lfw_pairs(path, faces)
    assert pairs["a"].tolist() == [0, 1, 3, 5]
    assert pairs["b"].tolist() == [2, 3, 4, 4]
    assert pairs["same"].tolist() == [True, False, True, False]
    assert pairs["fold"].tolist() == [0, 0, 1, 1]
    assert (pairs["a"].dtype, pairs["same"].dtype) == (np.int64, np.bool_)
    path.write_text("1\nAnn_Lee\t1\t3\nAnn_Lee\t2\tBo\t1\n")  # a development file
    assert lfw_pairs(path, faces)["fold"].tolist() == [0, 0]
    path.write_text("Ann_Lee 1 3\n\nAnn_Lee 2 Bo 1\nBo 1 2\n")  # without a first line
    assert lfw_pairs(path, faces)["fold"].tolist() == [0, 0, 0]


def test_lfw_pairs_that_are_wrong(faces, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*pairs\.txt'; pass the path of LFW's"):
        lfw_pairs(tmp_path / "pairs.txt", faces)
    path = tmp_path / "pairs.txt"
    path.write_text("10\t300\nAnn_Lee\t1\t3\nAnn_Lee\t2\tBo\t1\n")
    with pytest.raises(ValueError, match=r"first line .*'10 300', does not fit its 2 pairs"):
        lfw_pairs(path, faces)
    path.write_text("Ann_Lee 1 9\nZoe 1 Bo 1\n")
    with pytest.raises(
        ValueError, match=r"2 pictures of .* are not in the image set, such as Ann_Lee_0009, Zoe"
    ):
        lfw_pairs(path, faces)
    path.write_text("Ann_Lee 1 3\nAnn Lee 1 2 3\n")
    with pytest.raises(ValueError, match=r"line 2 of .* is no pair: 'Ann Lee 1 2 3'; expected 'Name 1 4'"):
        lfw_pairs(path, faces)
    path.write_text("1\n")
    with pytest.raises(ValueError, match="there are no pairs in"):
        lfw_pairs(path, faces)
    path.write_text("Ann_Lee 1 3\n")
    with pytest.raises(
        ValueError, match=r"make it with ImageSet\.from_lfw \(it has the columns name, label\)"
    ):
        lfw_pairs(path, ImageSet.from_folder(tmp_path / "lfw"))


def test_lfw_trees_that_are_wrong(tmp_path):
    put(tmp_path / "lfw" / "Ann" / "Ann_0001.jpg")
    with pytest.raises(
        ValueError, match=r"'lfw/Ann/Ann_0001\.jpg'; expected Name/Name_0001\.jpg: give the folder"
    ):
        ImageSet.from_lfw(tmp_path)


@pytest.mark.realdata
def test_aligned_faces_are_laid_out_as_lfw():
    root = REALDATA / "faces_lfw10" / "images_112x112"
    if not root.exists():
        pytest.skip("the photographs are not here")
    images = ImageSet.from_lfw(root)
    assert len(images) == 100
    assert len(set(images.labels)) == 10
    assert images.table["number"].min() >= 1


# ---- CVUSA -------------------------------------------------------------------------------------------------------


def cvusa(root, ids, split="val", where="splits"):
    lines = []
    for n in ids:
        put(root / "bingmap" / "19" / f"{n:07d}.jpg", 200)
        put(root / "streetview" / "panos" / f"{n:07d}.jpg", 100)
        lines.append(
            f"bingmap/19/{n:07d}.jpg,streetview/panos/{n:07d}.jpg,streetview/annotations/{n:07d}.png"
        )
    path = root / where / f"{split}-19zl.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def test_cvusa_pairs_ground_and_aerial(tmp_path):
    cvusa(tmp_path, [30, 4, 17])
    cvusa(tmp_path, [5], "train")
    ground, aerial = ImageSet.from_cvusa(tmp_path)
    assert ground.labels.tolist() == aerial.labels.tolist() == ["0000030", "0000004", "0000017"]
    assert ground.names[0] == "streetview/panos/0000030.jpg"
    assert aerial.names[0] == "bingmap/19/0000030.jpg"
    assert abs(int(ground[1][0, 0, 0]) - 100) < 3 < abs(int(aerial[1][0, 0, 0]) - 100)
    assert [len(images) for images in ImageSet.from_cvusa(tmp_path, "train")] == [1, 1]


def test_cvusa_lists_may_lie_at_the_top(tmp_path):
    cvusa(tmp_path, [1, 2], where=".")
    assert len(ImageSet.from_cvusa(tmp_path)[0]) == 2


def test_cvusa_trees_that_are_wrong(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"there is no file .*val-19zl\.csv'; give the folder of CVUSA"
    ):
        ImageSet.from_cvusa(tmp_path)
    with pytest.raises(ValueError, match=r"unknown split 'test': expected one of 'train', 'val'"):
        ImageSet.from_cvusa(tmp_path, "test")
    path = cvusa(tmp_path, [1, 2])
    path.write_text(path.read_text() + "bingmap/19/0000003.jpg\n")
    with pytest.raises(
        ValueError, match=r"line 3 of .* is no place: 'bingmap/19/0000003\.jpg'; expected the aer"
    ):
        ImageSet.from_cvusa(tmp_path)
    cvusa(tmp_path, [1, 2, 1])
    with pytest.raises(ValueError, match=r"1 places come twice in .*, such as '0000001'"):
        ImageSet.from_cvusa(tmp_path)
    path.write_text("\n")
    with pytest.raises(ValueError, match="there are no places in"):
        ImageSet.from_cvusa(tmp_path)
    path.write_text("a/1.jpg,b/1.jpg\n")
    with pytest.raises(FileNotFoundError, match="none of the paths"):
        ImageSet.from_cvusa(tmp_path)
