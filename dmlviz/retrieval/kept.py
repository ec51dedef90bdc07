"""The half of a gallery that is kept on disk, put together with more images, or cut to some."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from dmlviz.images import ImageSet
from dmlviz.retrieval.changing import extended_gallery, save_gallery, subset_of_gallery

if TYPE_CHECKING:
    from dmlviz.retrieval.gallery import Gallery


class Kept:
    """What `Gallery` can be made into: a folder, a larger gallery, a smaller one."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the gallery to a folder, whole or not at all.

        A gallery that lies there is replaced, in one step: whoever opens it meanwhile, and whoever comes when this
        was interrupted, finds one or the other. It may be the one that this gallery was opened from.

        Args:
            path: the folder.

        Raises:
            FileNotFoundError: the folder that should hold `path` does not exist.
            GalleryError: something else than a gallery lies there.
            OSError: the disk is full, say; what lay there is as it was.
        """
        save_gallery(self._whole(), path)

    def extended(
        self,
        images: ImageSet,
        path: str | os.PathLike[str] | None = None,
        *,
        batch_size: int = 64,
        workers: int = 0,
        progress: bool = True,
        on_error: str = "raise",
    ) -> "Gallery":
        """Another gallery: these images, and more of them behind.

        Only the new images go through the network. The index is made anew over all rows, by the same kind and
        options, so that it is the one that `build` makes of all the images. Ids of the images that are here stay the
        same. Where the gallery's own images ask, the new ones ask too; a separate query set stays as it is.

        Args:
            images: what to put behind; labelled where the gallery is. Columns of its table that one side lacks hold
                missing values there.
            path: folder to keep the new gallery in, as for `build`; it may be this gallery's own. What is embedded
                until an interruption is kept beside it, and the next call with the same images goes on from there.
            batch_size: as for `build`.
            workers: as for `build`.
            progress: as for `build`.
            on_error: as for `build`; ids in `skipped` count from this gallery's first image.

        Raises:
            ValueError: no images, or labels here and none there; else as `build`.
            ImageReadError: as `build`.
            GalleryError: something else than a gallery lies at `path`.
            OSError: the disk is full, say; what lay at `path` is as it was.
        """
        options = {"batch_size": batch_size, "workers": workers, "progress": progress, "on_error": on_error}
        return extended_gallery(self._whole(), images, path, **options)

    def subset(self, ids: Sequence[int] | np.ndarray) -> "Gallery":
        """Another gallery, of some of the images: numbered anew, 0, 1, ... in the order given.

        Nothing is embedded again; the index is made anew, by the same kind and options. Where the gallery's own
        images ask, the chosen ones do; a separate query set stays as it is. `save` keeps it on disk.

        Args:
            ids: image ids, or one truth value per image; at least one.

        Raises:
            IndexError: an id that is not in the gallery.
            TypeError: ids of another type.
            ValueError: none was chosen, or too few for the kind of index.
        """
        return subset_of_gallery(self._whole(), ids)

    def _whole(self) -> "Gallery":
        return cast("Gallery", self)
