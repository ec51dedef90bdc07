"""Somebody's own preprocessing function, with the view recovered from the numbers it returns."""

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from dmlviz.images import Preprocess, as_rgb

_PROBE_SIZES = ((240, 320), (300, 200))  # (height, width)
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601
_REPEATS = 8  # a coin flip stays unseen in 1 of 128


class MeasuredPreprocess:
    """A function from a Pillow image to the numbers of a network, seen from outside.

    The view is what the function's own output looks like when its colour arithmetic is undone: the output's
    channels are fitted as an affine function of red, green and blue on pictures of one colour, and inverted. So
    the view is exact whatever the function does to the geometry. Where the output is not such a function of the
    colours (normalised image by image, say), the view is the whole picture stretched over the input, and
    `note` says so.

    Attributes:
        size: (H, W) that the network is fed.
        depth: Channels that the network is fed.
        note: How the view comes about.

    Raises:
        TypeError: If the function does not return numbers (C, H, W).
        ValueError: If it is random, or its output size depends on the picture.
    """

    def __init__(self, function: Callable[[Image.Image], Any]) -> None:
        self.function = function
        picture = _texture(_PROBE_SIZES[0])
        try:
            first = self._run(picture)
        except Exception as error:
            error.add_note(
                "dmlviz gave the preprocessing one Pillow image, and expects numbers (C, H, W) of it"
            )
            raise
        if any(not np.array_equal(first, self._run(picture), equal_nan=True) for _ in range(_REPEATS)):
            raise ValueError(
                "the preprocessing is random: the same picture gave different numbers; give the transform used "
                "for evaluation, without random crops, flips or colour changes"
            )
        other = self._run(_texture(_PROBE_SIZES[1]))
        if other.shape != first.shape:
            raise ValueError(
                f"the preprocessing gives arrays of different shapes for pictures of different sizes "
                f"({first.shape} and {other.shape}); let it end in a fixed size, for example by a centre crop"
            )
        self.depth = int(first.shape[0])
        self.size = (int(first.shape[1]), int(first.shape[2]))
        self._matrix, self._shift, worst = self._colours()
        self._inverse = self._undo(worst, first)
        self.note = (
            "recovered from the numbers that your preprocessing returns, exact up to rounding"
            if self._inverse is not None
            else "the whole picture stretched over the network's input, because your preprocessing is not an affine "
            "function of the colours; if it crops, places on the picture are off by as much"
        )

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """(h, w, 3) uint8 -> what the network is fed, (C, H, W) float32."""
        found = self._run(as_rgb(image))
        if found.shape != (self.depth, *self.size):
            raise ValueError(
                f"the preprocessing gave shape {found.shape}, expected {(self.depth, *self.size)}"
            )
        return found

    def view(self, image: np.ndarray) -> np.ndarray:
        """The picture as the network sees it, (H, W, 3) uint8."""
        if self._inverse is None:
            return Preprocess.stretch(self.size).view(image)
        numbers = self(image)
        colours = np.tensordot(self._inverse, numbers - self._shift[:, None, None], axes=1)
        if self.depth == 1:
            colours = np.repeat(colours, 3, axis=0)
        return np.rint(np.clip(colours, 0, 255)).astype(np.uint8).transpose(1, 2, 0)

    def array(self, view: np.ndarray) -> np.ndarray:
        """The view as numbers, (C, H, W) float32, by the fitted colours; exact up to the view's rounding.

        Raises:
            ValueError: If the function is not affine in the colours.
        """
        if self._inverse is None:
            raise ValueError(
                "numbers cannot be made from a view, because your preprocessing is not an affine function of "
                "the colours; give a dmlviz.images.Preprocess instead"
            )
        colours = as_rgb(view, "view").astype(np.float64).transpose(2, 0, 1)
        numbers = np.tensordot(self._matrix, colours, axes=1) + self._shift[:, None, None]
        return np.ascontiguousarray(numbers, dtype=np.float32)

    def to_dict(self) -> dict[str, Any]:
        """What tells this preprocessing from another one: its answer to one textured picture, rounded."""
        answer = self._run(_texture(_PROBE_SIZES[0]))
        return {"size": list(self.size), "answer": np.round(answer[:, ::7, ::7].ravel(), 2).tolist()}

    def _run(self, image: np.ndarray) -> np.ndarray:
        found = self.function(Image.fromarray(image))
        if hasattr(found, "detach"):
            found = found.detach().cpu().numpy()
        array = np.asarray(found)
        if array.ndim == 4 and array.shape[0] == 1:
            array = array[0]
        channels_last = array.ndim == 3 and array.shape[0] > 4 >= array.shape[2]
        if array.ndim != 3 or array.dtype.kind not in "fiu" or channels_last:
            raise TypeError(
                f"the preprocessing must turn a Pillow image into numbers (C, H, W), it returned "
                f"{type(found).__name__} of shape {array.shape} and type {array.dtype}"
            )
        return np.asarray(array, dtype=np.float32)

    def _colours(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Fit output = matrix · (r, g, b) + shift; the worst misfit is given in grey levels."""
        colours = np.array(
            [(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (90, 90, 90), (200, 120, 40)]
        )
        found = []
        for colour in colours:
            plain = np.broadcast_to(colour.astype(np.uint8), (*_PROBE_SIZES[0], 3))
            found.append(np.median(self._run(np.ascontiguousarray(plain)), axis=(1, 2)))
        answers = np.array(found, dtype=np.float64)
        if self.depth == 1:  # greys alone: on colours, the rounding of the luma blurs the fit
            greys = (colours == colours[:, :1]).all(axis=1)
            colours, answers = colours[greys] @ _LUMA, answers[greys]
        design = np.column_stack([colours, np.ones(len(colours))])
        solution, *_ = np.linalg.lstsq(design, answers, rcond=None)
        if self.depth == 1:
            design = np.column_stack([colours[:, None] * np.ones(3), np.ones(len(colours))])  # r = g = b
            solution = np.concatenate([solution[:1] * _LUMA[:, None], solution[1:]])
        step = np.abs(solution[:3]).sum(axis=0).min()  # output per grey level
        worst = np.inf if not step > 0 else float(np.abs(design @ solution - answers).max() / step)
        return solution[:3].T, solution[3], worst

    def _undo(self, worst: float, textured: np.ndarray) -> np.ndarray | None:
        if not worst < 1.5 or self.depth not in (1, 3):
            return None
        if self.depth == 1:
            inverse = np.array([[1.0 / self._matrix.sum()]])
        elif np.linalg.cond(self._matrix) > 1e4:
            return None
        else:
            inverse = np.linalg.inv(self._matrix)
        back = np.tensordot(inverse, textured - self._shift[:, None, None], axes=1)
        return inverse if back.min() > -2 and back.max() < 257 else None


def _texture(size: tuple[int, int]) -> np.ndarray:
    """A picture (h, w, 3) uint8 without symmetry: coarse random blocks, the same on every machine."""
    generator = np.random.Generator(np.random.PCG64(7))
    blocks = generator.integers(0, 256, (-(-size[0] // 8), -(-size[1] // 8), 3), dtype=np.uint8)
    return np.ascontiguousarray(blocks.repeat(8, 0).repeat(8, 1)[: size[0], : size[1]])


def as_preprocess(given: Any, input_size: tuple[int, int] | None) -> "Preprocess | MeasuredPreprocess":
    """Whatever somebody preprocesses with, with a view.

    Args:
        given: A `Preprocess`, torchvision's evaluation transforms, or a function from a Pillow image to numbers
            (C, H, W).
        input_size: (H, W) that the network is to be fed, where `given` does not fix it.

    Raises:
        TypeError: If it is none of these.
        ValueError: If it is random, or leaves the size open and `input_size` is None, or contradicts it.
    """
    if isinstance(given, Preprocess | MeasuredPreprocess):
        found: Preprocess | MeasuredPreprocess = given
    elif not callable(given):
        raise TypeError(
            "preprocess must be a dmlviz.images.Preprocess, torchvision's evaluation transforms, or a function "
            f"from a Pillow image to a tensor (3, H, W); got {type(given).__name__}"
        )
    else:
        found = _read_or_measure(given)
    if input_size is not None and found.size is not None and tuple(input_size) != found.size:
        raise ValueError(
            f"input_size {tuple(input_size)} contradicts the preprocessing, which gives {found.size}; leave it out"
        )
    if found.size is None and input_size is None:
        raise ValueError(
            "the preprocessing leaves the pictures as large as they are; say what the network is fed with "
            "input_size=(height, width), or use Preprocess.stretch or Preprocess.resize_crop"
        )
    return found


def _read_or_measure(given: Callable[..., Any]) -> "Preprocess | MeasuredPreprocess":
    if type(given).__module__.split(".")[0] == "torchvision":
        try:
            read = Preprocess.from_torchvision(given)
        except ValueError:
            return MeasuredPreprocess(given)
        if read.size is not None:
            return read
    return MeasuredPreprocess(given)
