"""Which network made a gallery, noted in its folder so that the command line finds it again."""

import hashlib
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from dmlviz.embedder import Embedder

NAME = "model.json"
DEFAULT, RANDOM = "default", "random"

_KIND, _FORMAT = "dmlviz model", 1


@dataclass(frozen=True)
class Model:
    """A network of torchvision's.

    Attributes:
        network: Its name.
        weights: "default" (torchvision's best), "random", or the path of a file.
        seed: Of random weights.
        sha256: Of the file of weights; None where there is none.
    """

    network: str
    weights: str = DEFAULT
    seed: int = 0
    sha256: str | None = None

    @property
    def file(self) -> Path | None:
        """The file of weights; None where there is none."""
        return None if self.weights in (DEFAULT, RANDOM) else Path(self.weights)

    @property
    def said(self) -> str:
        """The model in words."""
        if self.weights == RANDOM:
            return f"{self.network} with random weights (seed {self.seed})"
        return f"{self.network} with " + (
            "torchvision's weights" if self.file is None else f"the weights {self.file}"
        )

    def embedder(self) -> "Embedder":
        """Make the network.

        Raises:
            click.ClickException: It cannot be made; the message says why.
        """
        from dmlviz.embedder import Embedder

        weights = {DEFAULT: "DEFAULT", RANDOM: None}.get(self.weights, self.weights)
        try:
            return Embedder.from_torchvision(self.network, weights, seed=self.seed)
        except (ValueError, OSError, ImportError) as error:  # no connection is an OSError
            raise click.ClickException(str(error)) from None

    def write(self, gallery: Path, embedder: str) -> None:
        """Note the model in a gallery's folder, whole or not at all.

        Args:
            gallery: The folder.
            embedder: Fingerprint of the network that it made: for a gallery by another one the note does not speak.
        """
        said = {"kind": _KIND, "format": _FORMAT, "embedder": embedder, **asdict(self)}
        part = gallery / f".{NAME}.{secrets.token_hex(8)}.part"
        try:
            part.write_text(json.dumps(said, indent=1), encoding="utf-8")
            os.replace(part, gallery / NAME)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def model_of(network: str, weights: str, seed: int) -> Model:
    """The model that the options name.

    Raises:
        click.ClickException: There is no such file of weights.
    """
    if weights.lower() in (DEFAULT, RANDOM):
        return Model(network, weights.lower(), seed if weights.lower() == RANDOM else 0)
    file = Path(weights).expanduser().absolute()
    if not file.is_file():
        raise click.ClickException(
            f"there is no file of weights {weights!r}; expected a file, or one of 'default' and 'random'."
        )
    return Model(network, str(file), 0, sha256_of(file))


def read_model(gallery: Path, weights: Path | None = None) -> Model:
    """The model noted in a gallery's folder.

    Args:
        gallery: The folder.
        weights: Where the file of weights lies now; None for where it lay then.

    Raises:
        click.ClickException: There is no such gallery, it does not say, or the file of weights is gone or another.
    """
    if not gallery.exists():
        raise click.ClickException(
            f"there is no gallery {str(gallery)!r}; make one: dmlviz index FOLDER --out PATH"
        )
    path = gallery / NAME
    if not path.is_file():
        raise click.ClickException(
            f"{str(gallery)!r} does not say which network made it (it holds no {NAME}). Galleries that were built in "
            "Python are opened there: Gallery.open(path, embedder)."
        )
    model, embedder = _read(path)
    if _is_of_another(gallery, embedder):
        raise click.ClickException(
            f"{str(gallery)!r} does not say which network made it: its {NAME} is of the gallery that lay there "
            "before. Open it in Python: Gallery.open(path, embedder)."
        )
    if weights is not None and model.file is None:
        raise click.ClickException(f"{str(gallery)!r} was made by {model.said}: it takes no file of weights.")
    if model.file is None:
        return model
    file = (model.file if weights is None else weights).absolute()
    if not file.is_file():
        raise click.ClickException(
            f"the file of weights {str(file)!r} is not there; say where it is: --weights FILE"
        )
    if sha256_of(file) != model.sha256:
        raise click.ClickException(
            f"the file of weights {str(file)!r} is not the one that made {str(gallery)!r}: its content differs. Give "
            "that one: --weights FILE, or make the gallery again."
        )
    return Model(model.network, str(file), model.seed, model.sha256)


def _is_of_another(gallery: Path, embedder: str) -> bool:
    """Whether another network made a gallery, or its queries; False where that cannot be read: opening says so."""
    try:
        said: Any = json.loads((gallery / "gallery.json").read_bytes())
        asking = said.get("queries") or said
        return {said["embedder"]["fingerprint"], asking["embedder"]["fingerprint"]} != {embedder}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _read(path: Path) -> tuple[Model, str]:
    """The model, and the fingerprint of the network that it made."""
    try:
        said: Any = json.loads(path.read_bytes())
        if said["kind"] != _KIND or said["format"] != _FORMAT:
            raise ValueError("another format")
        model = Model(said["network"], said["weights"], said["seed"], said["sha256"])
        embedder = said["embedder"]
        texts = all(isinstance(one, str) for one in (model.network, model.weights, embedder))
        if not texts or type(model.seed) is not int or not isinstance(model.sha256, str | None):
            raise ValueError("a value of another type")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise click.ClickException(
            f"{str(path)!r} cannot be read ({error}): it was changed or cut short. The same `dmlviz index` that "
            "made the gallery writes it anew; nothing is embedded again."
        ) from None
    return model, embedder


def sha256_of(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
