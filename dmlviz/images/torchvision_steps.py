"""Read torchvision's transforms by the names of their steps, without importing torchvision."""

from collections.abc import Iterable
from functools import partial
from typing import Any

_FILTERS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
_NOTHING = ("Identity", "ToPILImage", "ToPureTensor", "RGB")
_KNOWN = (
    "Resize, CenterCrop, Grayscale, ToTensor, PILToTensor, ToImage, ConvertImageDtype, ToDtype, Normalize, "
    "and the presets that come with classification weights"
)


def read_steps(transforms: Any) -> dict[str, Any]:
    """The settings of a `Preprocess` that does the same.

    Raises:
        ValueError: naming the step that is unknown, out of order, or not exactly reproducible.
    """
    found = _Steps()
    for step in _flattened(transforms):
        found.add(step)
    return found.settings()


def _flattened(transforms: Any) -> Iterable[Any]:
    if isinstance(transforms, partial):  # weights.transforms, not called
        transforms = transforms()
    if hasattr(transforms, "transforms") and callable(transforms.transforms):  # the weights themselves
        transforms = transforms.transforms()
    kind = type(transforms).__name__
    if kind == "Compose":
        return [inner for step in transforms.transforms for inner in _flattened(step)]
    if kind in ("Sequential", "ModuleList") or isinstance(transforms, list | tuple):
        return [inner for step in transforms for inner in _flattened(step)]
    return [transforms]


class _Steps:
    """Collects settings while the steps are read in order."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {"mean": 0.0, "std": 1.0}
        self.on_tensor = False  # uint8 or float tensor instead of a Pillow image
        self.scaled = False  # already divided by 255
        self.normalised = False

    def settings(self) -> dict[str, Any]:
        if not self.scaled:
            raise ValueError(
                "these transforms never turn grey levels 0..255 into numbers 0..1; "
                "add ToTensor(), or ToDtype(torch.float32, scale=True)"
            )
        return self.values

    def add(self, step: Any) -> None:
        name = type(step).__name__
        if name in _NOTHING:
            return
        read = getattr(self, f"_read_{name.lower()}", None)
        if read is None:
            why = "changes from call to call" if name.startswith("Random") else "is not known here"
            raise ValueError(
                f"the step {name} {why}; expected the evaluation transforms, made of {_KNOWN}. "
                "Write the rest as dmlviz.Preprocess(resize=..., crop=..., mean=..., std=...)"
            )
        read(step)

    def _read_imageclassification(self, step: Any) -> None:
        self._read_resize(step, step.resize_size)
        self._read_centercrop(step, step.crop_size)
        self._read_totensor(step)
        self._read_normalize(step)

    def _read_resize(self, step: Any, size: Any = None) -> None:
        if self.scaled or "resize" in self.values or "crop" in self.values:
            raise ValueError(
                "the step Resize must come once, before CenterCrop and before the picture becomes "
                "floating-point numbers; as written it resizes something other than the 8-bit picture"
            )
        if getattr(step, "max_size", None) is not None:
            raise ValueError(f"the step Resize with max_size={step.max_size} is not known here")
        if self.on_tensor and getattr(step, "antialias", True) is False:
            raise ValueError(
                "the step Resize with antialias=False on a tensor is not known here; pictures are antialiased"
            )
        how = str(getattr(step.interpolation, "value", step.interpolation)).removesuffix("-exact")
        if how not in _FILTERS:
            raise ValueError(f"the step Resize uses the filter {how!r}; expected one of {_FILTERS}")
        size = step.size if size is None else size
        size = [size] if isinstance(size, int) else list(size or [])
        if len(size) not in (1, 2):
            raise ValueError(f"the step Resize has no size that can be read: {size}")
        self.values["resize"] = int(size[0]) if len(size) == 1 else (int(size[0]), int(size[1]))
        self.values["interpolation"] = how

    def _read_centercrop(self, step: Any, size: Any = None) -> None:
        if self.normalised or "crop" in self.values:
            raise ValueError("the step CenterCrop must come once, and before Normalize")
        size = step.size if size is None else size
        size = [size] if isinstance(size, int) else list(size)
        self.values["crop"] = (int(size[0]), int(size[-1]))

    def _read_grayscale(self, step: Any) -> None:
        if step.num_output_channels != 1 or self.on_tensor or "resize" in self.values:
            raise ValueError("the step Grayscale is known with one output channel, as the first step")
        self.values["channels"] = "L"

    def _read_totensor(self, step: Any) -> None:
        self.on_tensor = self.scaled = True

    _read_maybetotensor = _read_totensor  # timm's

    def _read_piltotensor(self, step: Any) -> None:
        self.on_tensor = True

    _read_toimage = _read_maybepiltotensor = _read_piltotensor

    def _read_convertimagedtype(self, step: Any) -> None:
        self._to_dtype("ConvertImageDtype", step.dtype, scale=True)

    def _read_todtype(self, step: Any) -> None:
        self._to_dtype("ToDtype", step.dtype, scale=bool(getattr(step, "scale", False)))

    def _to_dtype(self, name: str, dtype: Any, scale: bool) -> None:
        if str(dtype) == "torch.uint8" and not self.scaled:
            return
        if str(dtype) != "torch.float32":
            raise ValueError(f"the step {name} gives {dtype}; expected torch.float32")
        if not scale and not self.scaled:
            self.values["scale"] = 1.0
        self.scaled = True

    def _read_normalize(self, step: Any) -> None:
        if not self.scaled or self.normalised:
            raise ValueError(
                "the step Normalize must come once, after the picture has become floating-point numbers"
            )
        self.normalised = True
        self.values["mean"] = [float(value) for value in step.mean]
        self.values["std"] = [float(value) for value in step.std]
