"""`published_embedder`: from the name of an application and a published file to an embedder."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from dmlviz.embedder.embedder import Embedder
from dmlviz.embedder.geometry import CellGeometry
from dmlviz.embedder.published.checkpoint import Mismatch, Shapes, give_weights, read_checkpoint, shapes_of
from dmlviz.embedder.published.net import PublishedNet, fill_with_random_weights
from dmlviz.embedder.published.variants import APPLICATIONS, Variant
from dmlviz.images import Preprocess

_GEOMETRY_SIZE = (128, 128)  # a small picture gives the same stride and centres as a large one


def published_embedder(
    name: str, weights: str | Path | None = None, seed: int = 0, *, variant: str | None = None
) -> Embedder:
    """The network of a published checkpoint as an embedder, its head in closed form.

    The parameters are called as in the published file, so that the file loads by its path. A final L2
    normalisation is left to the gallery's cosine similarity.

    | name | network | pooling and head | fed with (rows × columns) |
    |---|---|---|---|
    | "image-retrieval" | BN-Inception | maximum, Linear 1024 → 512 with bias | 224 × 224, BGR −104, −117, −128 |
    | "person-reidentification" | ResNet-50, last stride 1 | average, BatchNorm 2048 | 256 × 128, RGB |
    | "face-verification" | IR-ResNet | flatten, Linear 25,088 → 512, BatchNorm | 112 × 112, aligned |
    | "geo-localization-ground" | VGG-16 | average, Linear 512 → 4096 with bias | 224 × 1232, BGR |
    | "geo-localization-aerial" | VGG-16 of its own | average, the same Linear | 512 × 512, BGR |

    The variant of a file is told from its names: for "image-retrieval" "explain-metric-learning" and
    "research-ms-loss" (227 × 227); for "person-reidentification" "reid-strong-baseline" and
    "explain-metric-learning"; for "face-verification" "evolve-ir-50", "-101", "-152", "evolve-ir-se-50", "-101",
    "-152" and "explain-metric-learning" (an IR-152, BGR). Sources of names and preprocessing: the repositories
    Jeff-Zilence/Explain_Metric_Learning, msight-tech/research-ms-loss, michuanhaohao/reid-strong-baseline and
    ZhaoJ9014/face.evoLVe. The checkpoint for geo-localization is TensorFlow's: write it anew with
    `python -m dmlviz.embedder.published.from_tensorflow`; one file serves both views.

    Args:
        name: The application, see the table.
        weights: Path of a published file, .safetensors or written by `torch.save` (.pth, .pt, .pkl, .pth.tar; read
            with weights_only=True); an outer "state_dict" and the prefix "module." are taken off. None: random
            weights.
        seed: Of the random weights; the global random state is left alone.
        variant: Which of the application's files; None: told from the file, or the first without a file.

    Returns:
        The embedder, float32 on the CPU, in eval mode, gradients of its weights switched off.

    Raises:
        ValueError: An unknown name or variant; a file that cannot be read, or whose names or shapes are others:
            the missing, unexpected and differently shaped ones are counted and listed.
        FileNotFoundError: No file at that path.

    Examples:
        >>> embedder = published_embedder("person-reidentification")
        >>> embedder.map_size, embedder.dim, embedder.geometry.stride
        ((16, 8), 2048, (16.0, 16.0))
    """
    variants = _variants(name, variant)
    if weights is None:
        chosen = variants[0]
        net = chosen.without_weights().to_empty(device="cpu")
        fill_with_random_weights(net, seed)
        details = f"random weights (seed {seed})"
    else:
        state = read_checkpoint(weights)
        chosen, net = fitting_net(name, variants, state, str(weights))
        details = f"weights: {Path(weights).name}"
    return embedder_of_net(net, chosen.preprocess, name, f"{chosen.name} ({chosen.source}); {details}")


def embedder_of_net(net: PublishedNet, preprocess: Preprocess, name: str, details: str) -> Embedder:
    """The embedder of a network with its weights: its trunk, its head, the geometry by arithmetic."""
    net.eval().requires_grad_(False)
    trunk = net.trunk()
    geometry = CellGeometry.from_trunk(trunk, _GEOMETRY_SIZE)
    return Embedder(
        trunk,
        net.linear_head(),
        preprocess,
        geometry=geometry,
        name=name,
        details="; ".join(filter(None, (details, geometry.note))),
    )


def _variants(name: str, variant: str | None) -> tuple[Variant, ...]:
    if name not in APPLICATIONS:
        raise ValueError(f"unknown application {name!r}: expected one of {', '.join(APPLICATIONS)}")
    known = APPLICATIONS[name]
    if variant is None:
        return known
    chosen = tuple(one for one in known if one.name == variant)
    if not chosen:
        raise ValueError(
            f"unknown variant {variant!r} of {name}: expected one of {', '.join(one.name for one in known)}, or "
            f"None to tell it from the file"
        )
    return chosen


def fitting_net(
    name: str, variants: tuple[Variant, ...], state: Mapping[str, Tensor], file: str
) -> tuple[Variant, PublishedNet]:
    """The variant that a file was written for, and its network with the file's tensors.

    Args:
        name: The application, for the error.
        variants: Those that may be.
        state: The file's tensors by name.
        file: What to call the file.

    Raises:
        ValueError: No variant has these names and shapes; the nearest is compared.
    """
    given: Shapes = shapes_of(state)
    found = [(Mismatch.between(one.shapes(given), given), one) for one in variants]
    mismatch, nearest = min(found, key=lambda pair: len(pair[0]))
    if len(mismatch):
        others = "" if len(variants) == 1 else f" (the nearest of {', '.join(one.name for one in variants)})"
        raise ValueError(
            f"the weights in {file} are not those of {name}, variant {nearest.name}{others}: of its "
            f"{mismatch.held} names {mismatch.in_words()}. Expected a file of the repository {nearest.source}"
        )
    net = nearest.without_weights(**nearest.settings(given))
    give_weights(net, state)
    return nearest, net
