"""The notebooks that come with dmlviz, and putting copies of them where the user works."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click

FIRST = "01_first_look.ipynb"
NOTEBOOKS = (
    FIRST,
    "02_your_own_model.ipynb",
    "03_image_retrieval.ipynb",
    "04_person_reidentification.ipynb",
    "05_face_verification.ipynb",
    "06_geo_localization.ipynb",
    "07_methods_compared.ipynb",
    "08_how_far_to_trust_a_map.ipynb",
)


def put_notebooks(folder: Path) -> list[str]:
    """Copy the notebooks into a folder; one that is already there is the user's and stays as it is.

    Args:
        folder: made if it is not there.

    Returns:
        Names of the notebooks that were already there.

    Raises:
        click.ClickException: if the folder cannot be made or written to.
    """
    kept = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in NOTEBOOKS:
            if (folder / name).exists():
                kept.append(name)
            else:
                part = folder / f"{name}.part"
                part.write_bytes(shipped(name).read_bytes())
                part.rename(folder / name)  # whole or not at all
    except OSError as error:
        raise click.ClickException(
            f"the working folder {str(folder)!r} cannot be used ({error.strerror or error}). "
            "Choose another one: dmlviz demo --folder FOLDER"
        ) from None
    return kept


def shipped(name: str) -> Traversable:
    """A notebook as it comes with dmlviz: inside the installed package, or at the top of a checkout.

    Raises:
        click.ClickException: if it is in neither place.
    """
    package = files("dmlviz")
    for place in (package / "cli" / "notebooks" / name, Path(str(package)).parent / "notebooks" / name):
        if place.is_file():
            return place
    raise click.ClickException(f"{name} is missing from this installation of dmlviz. Install it again.")
