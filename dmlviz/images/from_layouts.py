"""The constructors of `ImageSet` for data sets as they unpack; each reads its lists in `dmlviz.images.layouts`."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd

    from dmlviz.images.image_set import ImageSet


class FromLayouts:
    """What `ImageSet` knows of the folders that data sets unpack into."""

    @classmethod
    def from_cub(
        cls,
        root: str | Path,
        split: Literal["train", "test", "all", "official-train", "official-test"] = "test",
    ) -> "ImageSet":
        """CUB-200-2011 as it unpacks: images.txt, image_class_labels.txt, classes.txt and images/.

        The table has cub_id, class_id, official_train (where train_test_split.txt lies there) and box_row, box_col,
        box_height, box_width in pixels (where bounding_boxes.txt lies there).

        Args:
            root: the folder CUB_200_2011.
            split: "train" and "test" are those of metric learning, species 1–100 and 101–200; the "official" ones
                are those of train_test_split.txt, all species in both.

        Raises:
            FileNotFoundError: if root or one of the lists is missing.
            ValueError: if a list is broken, or no image belongs to the split.
        """
        from dmlviz.images.layouts.cub import cub_rows

        return _image_set(cub_rows(root, split), root)

    @classmethod
    def from_cars196(
        cls,
        root: str | Path,
        split: Literal["train", "test", "all", "official-train", "official-test"] = "test",
    ) -> "ImageSet":
        """Cars-196 (Stanford Cars), in one of the layouts in which it is passed around.

        - cars_annos.mat beside the folder car_ims;
        - devkit with cars_train_annos.mat, cars_test_annos_withlabels.mat and cars_meta.mat, beside the folders
          cars_train and cars_test;
        - anno_train.csv, anno_test.csv and names.csv, with the images in train and test (or car_data/train, ...), in
          folders named by models or all together.

        The first two need SciPy. Folders named by models alone are refused: sorted, they are not in the order of the
        classes, so the split of metric learning would be another one.

        The table has class_id, official_train, and box_row, box_col, box_height, box_width in pixels from 0 (the
        lists count from 1, and a box holds its last pixel).

        Args:
            root: the folder that holds the lists.
            split: "train" and "test" are those of metric learning, classes 1–98 and 99–196; the "official" ones are
                the data set's own, all classes in both.

        Raises:
            FileNotFoundError: if root is in none of these layouts, or a list or an image of the lists with commas
                is missing.
            ImportError: if SciPy is needed and not installed.
            ValueError: if a list is broken, or no image belongs to the split.
        """
        from dmlviz.images.layouts.cars196 import cars_rows

        return _image_set(cars_rows(root, split), root)

    @classmethod
    def from_sop(cls, root: str | Path, split: Literal["train", "test", "all"] = "test") -> "ImageSet":
        """Stanford Online Products as it unpacks: Ebay_train.txt and Ebay_test.txt beside the folders of images.

        Labels are the products' numbers; the table has sop_id, class_id, super_class_id and super_class (the folder,
        "bicycle_final").

        Args:
            root: the folder Stanford_Online_Products.
            split: "train" and "test" have no product in common; results are reported on "test".

        Raises:
            FileNotFoundError: if root, a list or the first pictures are missing.
            ValueError: if a list is broken.
        """
        from dmlviz.images.layouts.sop import sop_rows

        return _image_set(sop_rows(root, split), root)

    @classmethod
    def from_in_shop(
        cls, root: str | Path, part: Literal["query", "gallery", "train"] = "gallery"
    ) -> "ImageSet":
        """One part of In-shop Clothes Retrieval (DeepFashion): Eval/list_eval_partition.txt beside the folder img.

        Labels are the items, "id_00000002"; the column kind is what they are, "WOMEN/Dresses". The list may lie
        beside img too, and img in a folder Img.

        Args:
            root: the folder that holds Eval and img.
            part: queries ask the gallery: `Gallery.build(gallery, embedder, queries=query)`.

        Raises:
            FileNotFoundError: if root, the list or the first pictures are missing.
            ValueError: if the list is broken.
        """
        from dmlviz.images.layouts.in_shop import in_shop_rows

        return _image_set(in_shop_rows(root, part), root)

    @classmethod
    def from_oxford(cls, root: str | Path) -> "ImageSet":
        """The images of Oxford5k or Paris6k, in one folder or in folders; they have no labels.

        What is right is said by lists for each query, see `dmlviz.images.oxford_queries`; the column stem is what
        those lists call a picture. Some pictures of Paris6k are known to be damaged: build with `on_error="skip"`.

        Args:
            root: the folder of the images.

        Raises:
            FileNotFoundError: if there is no such folder.
            ValueError: if no image lies in it, or two have the same name without ending.
        """
        from dmlviz.images.layouts.oxford import oxford_rows

        return _image_set(oxford_rows(root), root, None)

    @classmethod
    def from_market1501(
        cls, root: str | Path, part: Literal["query", "gallery", "train"] = "gallery"
    ) -> "ImageSet":
        """One part of Market-1501 as it unpacks; the names of the files say who was seen where.

        Labels are the persons' numbers as written. Two are no persons and are kept: "-1" is junk, detections that
        are neither right nor wrong and are left out of every ranking by the gallery's rule
        `leave_out="same-camera"`; "0000" are distractors, wrong answers to every query. The column kind says "junk",
        "distractor" or "person"; the others are person, camera (1 to 6), sequence, frame and box.

        Args:
            root: the folder that holds query, bounding_box_test and bounding_box_train.
            part: which of them; "gallery" is bounding_box_test.

        Raises:
            FileNotFoundError: if root or the part is missing.
            ValueError: if an image is not called as in Market-1501.
        """
        from dmlviz.images.layouts.market1501 import market_rows

        return _image_set(market_rows(root, part), root)

    @classmethod
    def from_lfw(cls, root: str | Path) -> "ImageSet":
        """Labeled Faces in the Wild as it unpacks, Name/Name_0001.jpg; the column number is the picture's.

        For the pairs to be verified see `dmlviz.images.lfw_pairs`.

        Args:
            root: the folder that holds one folder per person.

        Raises:
            FileNotFoundError: if there is no such folder.
            ValueError: if a picture is not called so.
        """
        from dmlviz.images.layouts.lfw import lfw_rows

        return _image_set(lfw_rows(root), root)

    @classmethod
    def from_cvusa(
        cls, root: str | Path, split: Literal["train", "val"] = "val"
    ) -> tuple["ImageSet", "ImageSet"]:
        """CVUSA as it unpacks: splits/val-19zl.csv names an aerial and a ground picture on each line.

        Args:
            root: the folder that holds splits, bingmap and streetview.
            split: "val" is the one that results are reported on.

        Returns:
            The ground pictures (queries) and the aerial ones (gallery): picture i of both is one place, and has
            the same label, which no other place has.

        Raises:
            FileNotFoundError: if root, the list or the first pictures are missing.
            ValueError: if a line names no two pictures, or a place comes twice.
        """
        from dmlviz.images.layouts.cvusa import cvusa_rows

        ground, aerial = cvusa_rows(root, split)
        return _image_set(ground, root), _image_set(aerial, root)


def _image_set(frame: "pd.DataFrame", root: str | Path, label: str | None = "label") -> "ImageSet":
    from dmlviz.images.image_set import ImageSet

    return ImageSet.from_frame(frame, label=label, root=root)
