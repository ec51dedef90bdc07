"""Folders as Cars-196, Stanford Online Products, In-shop and Oxford5k unpack, small ones written here."""

import builtins

import numpy as np
import pytest
from PIL import Image

from dmlviz.images import ImageReadError, ImageSet, oxford_queries


def put(path, grey=0, size=(4, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, grey).save(path)
    return path


# ---- Cars-196 ----------------------------------------------------------------------------------------------------

MODELS = [f"Make Model {n} 2012" for n in range(1, 197)]
CARS = [  # number, class, test, x1, y1, x2, y2
    (1, 1, 0, 2, 1, 4, 3),
    (2, 98, 1, 1, 1, 2, 2),
    (3, 99, 0, 1, 2, 4, 3),
    (4, 196, 1, 3, 3, 3, 3),
]
SPLITS = {
    "train": [1, 2],
    "test": [3, 4],
    "all": [1, 2, 3, 4],
    "official-train": [1, 3],
    "official-test": [2, 4],
}


def structs(rows, fields):
    """A struct array as MATLAB writes it, (1, N)."""
    table = np.empty((1, len(rows)), dtype=[(name, object) for name in fields])
    for n, row in enumerate(rows):
        for name, value in zip(fields, row, strict=True):
            table[0, n][name] = value
    return table


def cell(texts):
    made = np.empty((1, len(texts)), dtype=object)
    made[0] = texts
    return made


BOX = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")


def one_list(root, cars=CARS):
    io = pytest.importorskip("scipy.io")
    for n, *_ in cars:
        put(root / "car_ims" / f"{n:06d}.png", n)
    rows = [(f"car_ims/{n:06d}.png", *box, of, test) for n, of, test, *box in cars]
    fields = ("relative_im_path", *BOX, "class", "test")
    said = {"annotations": structs(rows, fields), "class_names": cell(MODELS)}
    io.savemat(root / "cars_annos.mat", said)
    return root


def devkit(root, cars=CARS):
    io = pytest.importorskip("scipy.io")
    (root / "devkit").mkdir(parents=True)
    for part, name in ((0, "cars_train_annos"), (1, "cars_test_annos_withlabels")):
        folder = root / ("cars_test" if part else "cars_train")
        chosen = [car for car in cars if car[2] == part]
        for n, *_ in chosen:
            put(folder / f"{n:05d}.png", n)
        rows = [(*box, of, f"{n:05d}.png") for n, of, _, *box in chosen]
        io.savemat(root / "devkit" / f"{name}.mat", {"annotations": structs(rows, (*BOX, "class", "fname"))})
    io.savemat(root / "devkit" / "cars_meta.mat", {"class_names": cell(MODELS)})
    return root


def commas(root, cars=CARS, below="car_data/car_data/"):
    root.mkdir(parents=True, exist_ok=True)
    lists = {"train": [], "test": []}
    for n, of, test, *box in cars:
        part = "test" if test else "train"
        put(root / below / part / f"{MODELS[of - 1].replace('/', '-')}" / f"{n:05d}.png", n)
        lists[part].append(",".join(map(str, (f"{n:05d}.png", *box, of))))
    for part, lines in lists.items():
        (root / f"anno_{part}.csv").write_text("\n".join(lines) + "\n")
    (root / "names.csv").write_text("\n".join(f'"{name}"' for name in MODELS) + "\n")
    return root


def flat_commas(root):
    commas(root, below="")
    for part in ("train", "test"):
        for path in (root / part).glob("*/*"):
            path.rename(root / part / path.name)
    return root


@pytest.mark.parametrize("write", [one_list, devkit, commas, flat_commas])
def test_cars_are_split_by_class_in_every_layout(tmp_path, write):
    root = write(tmp_path / "cars")
    for split, expected in SPLITS.items():
        images = ImageSet.from_cars196(root, split)
        assert sorted(int(image[0, 0, 0]) for image in images) == expected
    assert ImageSet.from_cars196(root).names == ImageSet.from_cars196(root, "test").names
    table = ImageSet.from_cars196(root, "all").table.set_index("class_id")
    assert table.loc[196, "label"] == "Make Model 196 2012"
    assert table["official_train"].to_dict() == {1: True, 98: False, 99: True, 196: False}
    row = table.loc[1]  # the lists count from 1, and a box holds its last pixel
    assert (row.box_row, row.box_col, row.box_height, row.box_width) == (0.0, 1.0, 3.0, 3.0)
    row = table.loc[196]
    assert (row.box_row, row.box_col, row.box_height, row.box_width) == (2.0, 2.0, 1.0, 1.0)


def test_cars_of_one_image(tmp_path):
    root = one_list(tmp_path, CARS[:1])
    assert ImageSet.from_cars196(root, "train").labels.tolist() == ["Make Model 1 2012"]
    with pytest.raises(ValueError, match=r"no image of .* belongs to split='test'; try split='all'"):
        ImageSet.from_cars196(root, "test")


def test_cars_that_are_folders_only_are_refused(tmp_path):
    put(tmp_path / "train" / "Audi TT 2011" / "1.png")
    with pytest.raises(
        FileNotFoundError,
        match=r"holds no list of Cars-196: expected cars_annos\.mat beside car_ims; .*; it holds train\. Folders "
        r"named by models alone .* ImageSet\.from_folder",
    ):
        ImageSet.from_cars196(tmp_path)


def test_cars_whose_lists_are_wrong(tmp_path):
    with pytest.raises(ValueError, match=r"unknown split 'val': expected one of 'train', 'test', 'all'"):
        ImageSet.from_cars196(tmp_path, "val")
    root = commas(tmp_path / "cars")
    good = (root / "anno_test.csv").read_text()
    for line, why in [
        ("x.png,1,2,3,4", "is no car: 'x.png,1,2,3,4'; expected file, left"),
        ("x.png,1,2,3,4,five", "is no car"),
        (",1,2,3,4,5", "is no car"),
    ]:
        (root / "anno_test.csv").write_text(f"{good}\n{line}\n")
        with pytest.raises(ValueError, match=rf"line 4 of .*anno_test\.csv' {why}"):
            ImageSet.from_cars196(root)
    (root / "anno_test.csv").write_text(good + "00009.png,1,1,2,2,7\n")
    with pytest.raises(
        FileNotFoundError, match=r"1 of 3 images that .*anno_test\.csv' lists .* '00009\.png'; looked"
    ):
        ImageSet.from_cars196(root)
    put(root / "car_data" / "car_data" / "test" / "Another" / "00002.png")
    with pytest.raises(
        ValueError, match=r"two images of .*test' are called '00002\.png', .*'anno_test\.csv' does not"
    ):
        ImageSet.from_cars196(root)
    (root / "car_data" / "car_data" / "test" / "Another" / "00002.png").unlink()
    (root / "anno_test.csv").write_text(good + good)
    with pytest.raises(ValueError, match=r"2 images come twice in .*such as"):
        ImageSet.from_cars196(root)
    (root / "anno_test.csv").write_text("\n")
    with pytest.raises(ValueError, match=r"anno_test\.csv' is empty"):
        ImageSet.from_cars196(root)
    (root / "anno_test.csv").write_text(good)
    (root / "names.csv").write_text("one\ntwo\n")
    with pytest.raises(
        ValueError, match=r"knows the classes \[98, 99, 196\], and the list of models names 1 to 2"
    ):
        ImageSet.from_cars196(root)
    (root / "names.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"no file .*names\.csv'; it names the models"):
        ImageSet.from_cars196(root)
    (root / "anno_test.csv").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"no file .*anno_test\.csv'; the lists with commas come as a pair"
    ):
        ImageSet.from_cars196(root)


def test_lists_of_matlab_that_are_wrong(tmp_path):
    io = pytest.importorskip("scipy.io")
    root = one_list(tmp_path / "cars")
    path = root / "cars_annos.mat"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cars_annos\.mat' cannot be read as a file of MATLAB's"):
        ImageSet.from_cars196(root)
    io.savemat(path, {"other": 1})
    with pytest.raises(
        ValueError, match=r"the annotations in .* lack relative_im_path, bbox_x1, .* class, test"
    ):
        ImageSet.from_cars196(root)
    fields = ("relative_im_path", *BOX, "class", "test")
    said = {"annotations": structs([("../a.png", 1, 1, 2, 2, 1, 0)] * 1, fields), "class_names": cell(MODELS)}
    io.savemat(path, said)
    with pytest.raises(ValueError, match=r"'\.\./a\.png' leads out of root"):
        ImageSet.from_cars196(root, "train")
    rows = [("car_ims/000001.png", 1, 1, 2, 2, 1, 0), ("car_ims/000002.png", 1, 1, 2, 2, 1.5, 0)]
    io.savemat(path, {"annotations": structs(rows, fields), "class_names": cell(MODELS)})
    with pytest.raises(ValueError, match=r"annotation 2 of .* is broken: expected a whole number, got 1\.5"):
        ImageSet.from_cars196(root, "train")
    io.savemat(path, {"annotations": structs(rows[:1], fields)})
    with pytest.raises(ValueError, match="does not name the models: expected texts in class_names"):
        ImageSet.from_cars196(root, "train")
    kit = devkit(tmp_path / "kit")
    (kit / "devkit" / "cars_test_annos_withlabels.mat").rename(kit / "cars_test_annos_withlabels.mat")
    assert len(ImageSet.from_cars196(kit, "all")) == 4  # it may lie beside devkit, where it is downloaded to
    (kit / "cars_test_annos_withlabels.mat").unlink()
    with pytest.raises(FileNotFoundError, match=r"withlabels\.mat'; the list of Cars-196 with the classes"):
        ImageSet.from_cars196(kit)


def test_cars_without_scipy(tmp_path, monkeypatch):
    root = tmp_path / "cars"
    root.mkdir()
    (root / "cars_annos.mat").write_bytes(b"")
    real = builtins.__import__

    def refuse(name, *rest, **more):
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(
        ImportError, match=r"which SciPy reads: pip install scipy \(or use the lists with commas"
    ):
        ImageSet.from_cars196(root)


# ---- Stanford Online Products ------------------------------------------------------------------------------------


def sop(root, headed=True):
    root.mkdir(parents=True, exist_ok=True)
    products = {
        "train": [(1, 1, 1, "bicycle_final"), (2, 1, 1, "bicycle_final")],
        "test": [(3, 7, 2, "mug final")],
    }
    for split, rows in products.items():
        lines = ["image_id class_id super_class_id path"] if headed else []
        for image, product, category, folder in rows:
            put(root / folder / f"{product}_{image}.png", image)
            lines.append(f"{image} {product} {category} {folder}/{product}_{image}.png")
        (root / f"Ebay_{split}.txt").write_text("\r\n".join(lines) + "\r\n")
    return root


@pytest.mark.parametrize("headed", [True, False])
def test_products_are_split_as_their_lists_say(tmp_path, headed):
    root = sop(tmp_path, headed)
    train, test, every = (ImageSet.from_sop(root, split) for split in ("train", "test", "all"))
    assert [images.labels.tolist() for images in (train, test, every)] == [["1", "1"], ["7"], ["1", "1", "7"]]
    assert ImageSet.from_sop(root).names == test.names == ("mug final/7_3.png",)
    assert [int(image[0, 0, 0]) for image in every] == [1, 2, 3]
    row = test.table.iloc[0]
    assert (row.sop_id, row.class_id, row.super_class_id, row.super_class) == (3, 7, 2, "mug final")


def test_products_whose_lists_are_wrong(tmp_path):
    root = sop(tmp_path / "sop")
    with pytest.raises(ValueError, match="unknown split 'val'"):
        ImageSet.from_sop(root, "val")
    path = root / "Ebay_test.txt"
    for text, why in [
        ("3 7 mug/7_3.png\n", r"line 1 of .* must hold 'number number number name', it is '3 7 mug"),
        (
            "image_id class_id super_class_id path\n\n3 seven 2 mug/7_3.png\n",
            r"line 3 of .* it is '3 seven 2",
        ),
        ("image_id class_id super_class_id path\n", r"Ebay_test\.txt' is empty"),
        ("3 7 2 ../7_3.png\n", "leads out of root"),
        ("3 7 2 /etc/7_3.png\n", "leads out of root"),
        ("3 7 2 a.png\n4 7 2 a.png\n", "1 images come twice in .*, such as 'a.png'"),
        ("3 7 2 a\0.png\n", "is no text: it holds a byte of value 0"),
    ]:
        path.write_text(text)
        with pytest.raises(ValueError, match=why):
            ImageSet.from_sop(root)
    path.write_bytes(b"3 7 2 \xff\xfe.png\n")
    with pytest.raises(ValueError, match=r"is no text in UTF-8: byte 6 cannot be read; was it damaged\?"):
        ImageSet.from_sop(root)
    path.write_text("3 7 2 mug final/none.png\n")
    with pytest.raises(FileNotFoundError, match="none of the paths in the column 'path' exists"):
        ImageSet.from_sop(root)
    path.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"lacks Ebay_test\.txt; .*Stanford_Online_Products; it holds Ebay_tr"
    ):
        ImageSet.from_sop(root, "all")


# ---- In-shop -----------------------------------------------------------------------------------------------------

CLOTHES = [
    ("WOMEN/Dresses", "id_00000002", "02_1_front", "train"),
    ("WOMEN/Dresses", "id_00000001", "01_1_front", "query"),
    ("WOMEN/Dresses", "id_00000001", "01_2_side", "gallery"),
    ("MEN/Denim", "id_00000080", "01_1_front", "gallery"),
]


def in_shop(root, eval_folder="Eval", img="img", head=None):
    lines = [str(len(CLOTHES)) if head is None else head, "image_name item_id evaluation_status"]
    for n, (kind, item, name, part) in enumerate(CLOTHES):
        put(root / img / kind / item / f"{name}.png", n)
        lines.append(f"img/{kind}/{item}/{name}.png    {item} {part}")
    path = root / eval_folder / "list_eval_partition.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(("eval_folder", "img"), [("Eval", "img"), (".", "img"), ("Eval", "Img/img")])
def test_clothes_know_their_part(tmp_path, eval_folder, img):
    in_shop(tmp_path, eval_folder, img)
    query, gallery, train = (ImageSet.from_in_shop(tmp_path, part) for part in ("query", "gallery", "train"))
    assert query.labels.tolist() == ["id_00000001"]
    assert gallery.labels.tolist() == ["id_00000001", "id_00000080"]
    assert gallery.table["kind"].tolist() == ["WOMEN/Dresses", "MEN/Denim"]
    assert gallery.names[1] == f"{img}/MEN/Denim/id_00000080/01_1_front.png"
    assert [int(images[0][0, 0, 0]) for images in (train, query, gallery)] == [0, 1, 2]


def test_clothes_whose_list_is_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"list_eval_partition\.txt'; give the folder of In-shop"):
        ImageSet.from_in_shop(tmp_path)
    path = in_shop(tmp_path)
    with pytest.raises(ValueError, match="unknown part 'test': expected one of 'query', 'gallery', 'train'"):
        ImageSet.from_in_shop(tmp_path, "test")
    good = path.read_text()
    for text, why in [
        (good.replace("4\n", "5\n", 1), r"the first line of .* says 5 images, it lists 4"),
        (
            good.replace("gallery", "val"),
            r"knows the parts 'val'; expected 'query', 'gallery', 'train': is it the",
        ),
        (good.replace(" id_00000002", "", 1), r"line 3 of .* must hold 'name word word', it is 'img/WOMEN"),
        (
            "202599\n" + good[2:],
            r"must begin with the number of images and the line .*; it begins with '202599'",
        ),
        ("", "it begins with 'nothing'"),
        (good.replace("query", "train"), "no image of .* belongs to part='query'"),
        (good.replace("img/WOMEN/Dresses/id_00000001", "../x"), "leads out of root"),
    ]:
        path.write_text(text.replace("image_name", "image") if text.startswith("202599") else text)
        with pytest.raises(ValueError, match=why):
            ImageSet.from_in_shop(tmp_path, "query")


# ---- Oxford5k and Paris6k ----------------------------------------------------------------------------------------


def oxford(root, below=""):
    for name, grey in (("all_souls_000013", 10), ("all_souls_000026", 20), ("oxford_002985", 30)):
        rows, cols = np.mgrid[:40, :60]
        picture = np.stack([rows, cols, np.full_like(rows, grey)], axis=-1).astype(np.uint8)
        path = root / "images" / below / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    lists = root / "gt"
    lists.mkdir()
    for n, (stem, box) in {
        10: ("all_souls_000013", "5.5 2.4 20.5 12.6"),
        2: ("all_souls_000026", "50 30 99 99"),
    }.items():
        (lists / f"all_souls_{n}_query.txt").write_text(f"oxc1_{stem} {box}\n")
        for other in ("good", "ok", "junk"):
            (lists / f"all_souls_{n}_{other}.txt").write_text("all_souls_000026\n")
    return root / "images", lists


@pytest.mark.parametrize("below", ["", "all_souls"])
def test_buildings_and_their_queries(tmp_path, below):
    root, lists = oxford(tmp_path, below)
    images = ImageSet.from_oxford(root)
    assert images.labels is None
    assert images.table["stem"].tolist() == ["all_souls_000013", "all_souls_000026", "oxford_002985"]
    queries = oxford_queries(root, lists)
    assert queries.names == ("all_souls_2", "all_souls_10")
    assert queries.labels.tolist() == ["all_souls", "all_souls"]
    table = queries.table
    assert table["stem"].tolist() == ["all_souls_000026", "all_souls_000013"]
    assert table.loc[1, ["box_row", "box_col", "box_height", "box_width"]].tolist() == pytest.approx(
        [2.4, 5.5, 10.2, 15]
    )
    cut = queries[1]
    with Image.open(root / below / "all_souls_000013.png") as whole:
        assert np.array_equal(cut, np.asarray(whole.crop((5.5, 2.4, 20.5, 12.6))))
    assert queries[0].shape == (10, 10, 3)  # the picture ends there
    assert (queries[0][0, 0, 0], queries[0][0, 0, 1]) == (30, 50)
    assert queries.files is None
    again = oxford_queries(root, lists).subset([1, 0])
    assert np.array_equal(again[0], cut)
    before = queries.fingerprint
    (lists / "all_souls_2_query.txt").write_text("oxc1_all_souls_000026 49 30 99 99\n")
    assert oxford_queries(root, lists).fingerprint != before


def test_buildings_that_are_wrong(tmp_path):
    root, lists = oxford(tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"no list of a query lies in .*images'; expected files such as"
    ):
        oxford_queries(root, root)
    path = lists / "all_souls_2_query.txt"
    good = path.read_text()
    for text, why in [
        ("oxc1_all_souls_000026 1 2 3\n", r"line 1 of .* must hold 'word size size size size', it is"),
        (
            "oxc1_all_souls_000026 9 2 3 4\n",
            r"must hold left, top, right and bottom of a box, it holds '9 2 3 4'",
        ),
        (good + good, r"must hold one line, it holds 2"),
        ("\n", "is empty"),
    ]:
        path.write_text(text)
        with pytest.raises(ValueError, match=why):
            oxford_queries(root, lists)
    path.write_text("../../etc/passwd 1 2 3 4\n")
    with pytest.raises(
        FileNotFoundError, match=r"asks with the picture '\.\./\.\./etc/passwd', and .* holds no file"
    ):
        oxford_queries(root, lists)
    path.write_text("oxc1_all_souls_000026 100 2 300 4\n")
    with pytest.raises(
        ImageReadError, match=r"'all_souls_2' .*its box .* holds no pixel of the picture, which is 40"
    ):
        oxford_queries(root, lists)[0]
    path.write_text(good)
    put(root / "copy" / "oxford_002985.jpg")
    with pytest.raises(
        ValueError, match=r"pictures by their names without ending, and .* has the same as .*; leave one"
    ):
        ImageSet.from_oxford(root)
