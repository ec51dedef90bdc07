"""xCos heads on disk, and which head belongs to which embedder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

import torch
from safetensors.torch import load, save
from torch import nn

from dmlviz.embedder.embedder import Embedder
from dmlviz.embedder.shipped import WEIGHTS
from dmlviz.embedder.xcos import XCos

SHIPPED: Final = WEIGHTS / "xcos_birds.safetensors"
"""The head for `birds_embedder("avg")`."""
_TELLS: Final = frozenset({"bytes", "channels", "sha256", "symmetric", "trunk"})
_MEND: Final = "Train it anew: python -m dmlviz.learning.train_xcos --out DIR."
_given: WeakKeyDictionary[Embedder, XCos] = WeakKeyDictionary()


def use_xcos(embedder: Embedder, module: XCos) -> None:
    """Let an embedder's galleries be explained by this xCos head from now on, in this process.

    Args:
        embedder: The embedder on whose trunk the head was trained.
        module: The head; used in eval mode, left as it is.

    Raises:
        TypeError: It is no `XCos`.
        ValueError: It takes another number of channels than the trunk gives.

    Examples:
        >>> from dmlviz.embedder import birds_embedder
        >>> use_xcos(birds_embedder("max"), XCos(channels=64))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: this xCos head takes 64 channels, but the trunk of 'birds, max pooling' gives 128; ...
    """
    if not isinstance(module, XCos):
        raise TypeError(f"module must be a dmlviz.embedder.XCos, got {type(module).__name__}")
    channels = channels_of(embedder)
    if module.channels != channels:
        raise ValueError(
            f"this xCos head takes {module.channels} channels, but the trunk of {embedder.name!r} gives {channels}; "
            "train one on this trunk (dmlviz.learning.train_xcos_head)"
        )
    _given[embedder] = module


def xcos_of(embedder: Embedder) -> XCos:
    """Find the xCos head of an embedder: the one given by `use_xcos`, else the shipped one on the birds' trunk.

    Args:
        embedder: Any embedder.

    Returns:
        The head; a freshly read one, in eval mode, where it is the shipped one.

    Raises:
        LookupError: There is none for this trunk.
    """
    for given in (embedder, embedder.unmapped):  # maps of embeddings leave the trunk as it is
        if given in _given:
            return _given[given]
    card = _card_of(SHIPPED)
    trunk = card["trunk"]
    if _size_of(embedder.trunk) == trunk["parameters"] and trunk_sha256(embedder.trunk) == trunk["sha256"]:
        return read_xcos(SHIPPED, embedder)
    raise LookupError(
        f"xCos is learned for each trunk, and no head is known for that of {embedder.name!r}: train one with "
        "dmlviz.learning.train_xcos_head and name it with dmlviz.embedder.use_xcos(embedder, module)"
    )


def read_xcos(path: str | Path, embedder: Embedder) -> XCos:
    """Load an xCos head written by `dmlviz.learning.train_xcos_head`.

    Args:
        path: The ``.safetensors`` file; its ``.json`` card lies beside it.
        embedder: The embedder it is to be used with: its trunk must be the one that the head was trained on.

    Returns:
        The head, float32, in eval mode, without gradients.

    Raises:
        FileNotFoundError: The weights or the card are missing.
        ValueError: The checksum is not the card's, the card is broken, or the trunk is another one.
    """
    path = Path(path)
    card = _card_of(path)
    if not path.exists():
        raise FileNotFoundError(f"The xCos weights {path} are missing. {_MEND}")
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != card["sha256"]:
        raise ValueError(
            f"The xCos weights {path} are not the ones their card describes: expected sha256 {card['sha256']}, "
            f"got {found} ({len(data)} bytes instead of {card['bytes']}). {_MEND}"
        )
    trunk = trunk_sha256(embedder.trunk)
    if trunk != card["trunk"]["sha256"]:
        raise ValueError(
            f"The xCos weights {path} were trained on another trunk than that of {embedder.name!r}: on "
            f"{card['trunk']['name']!r} with sha256 {card['trunk']['sha256']}, got {trunk}. {_MEND}"
        )
    module = XCos(card["channels"], symmetric=card["symmetric"])
    module.load_state_dict({name: value.float() for name, value in load(data).items()})
    return module.eval().requires_grad_(False)


def write_xcos(module: XCos, path: Path, embedder: Embedder, told: dict[str, Any]) -> Path:
    """Write an xCos head in float16, with a card that names the trunk it belongs to.

    Args:
        module: The trained head.
        path: Where to; must end in ``.safetensors``. The card goes beside it.
        embedder: The embedder on whose trunk it was trained.
        told: What else the card tells: recipe, command, loss curve.

    Returns:
        The path.

    Raises:
        ValueError: A weight is not finite in float16.
    """
    halves = {
        name: value.detach().cpu().half().contiguous()
        for name, value in module.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    for name, value in halves.items():
        if not bool(torch.isfinite(value).all()):
            raise ValueError(f"the xCos head's {name} is not finite in float16; train with a lower rate")
    path.write_bytes(save(halves))
    card = {
        "name": path.stem,
        "what": "XCos of dmlviz.embedder.xcos, float16",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
        "channels": module.channels,
        "symmetric": module.symmetric,
        "trunk": {
            "name": embedder.name,
            "parameters": _size_of(embedder.trunk),
            "sha256": trunk_sha256(embedder.trunk),
        },
        **told,
    }
    path.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    return path


def trunk_sha256(trunk: nn.Module) -> str:
    """SHA-256 (hex) over the names, shapes and float32 values of a trunk's weights."""
    digest = hashlib.sha256()
    state = trunk.state_dict()
    for name in sorted(key for key in state if not key.endswith("num_batches_tracked")):
        value = state[name].detach().cpu().float().contiguous()
        digest.update(f"{name} {tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def channels_of(embedder: Embedder) -> int:
    """C of the embedder's feature maps, by one pass of a blank picture."""
    height, width = embedder.input_size
    blank = torch.zeros(height, width, 3, dtype=torch.uint8).numpy()
    return int(embedder.feature_maps([blank]).shape[1])


def _size_of(trunk: nn.Module) -> int:
    return sum(parameter.numel() for parameter in trunk.parameters())


def _card_of(path: Path) -> dict[str, Any]:
    card = path.with_suffix(".json")
    if not card.exists():
        raise FileNotFoundError(
            f"The card {card} is missing, and with it the xCos weights' checksum. {_MEND}"
        )
    try:
        read = json.loads(card.read_text(encoding="utf-8"))
    except ValueError:
        read = {}
    if not isinstance(read, dict) or not read.keys() >= _TELLS:
        raise ValueError(
            f"The card {card} is not a whole card: it must tell {', '.join(sorted(_TELLS))}. {_MEND}"
        )
    return read
