"""The notebooks run from top to bottom, and are committed clean: no outputs, no widget state, stable cell ids."""

from pathlib import Path

import nbformat
import pytest

from dmlviz.cli.notebooks import NOTEBOOKS as CARRIED

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
SECONDS_A_CELL = 120  # each notebook takes less than a minute on two idle cores


def test_there_are_notebooks():
    assert [path.name for path in NOTEBOOKS] == [
        "01_first_look.ipynb",
        "02_your_own_model.ipynb",
        "03_image_retrieval.ipynb",
        "04_person_reidentification.ipynb",
        "05_face_verification.ipynb",
        "06_geo_localization.ipynb",
        "07_methods_compared.ipynb",
        "08_how_far_to_trust_a_map.ipynb",
    ]


def test_all_notebooks_travel_with_the_package():
    assert [path.name for path in NOTEBOOKS] == list(CARRIED)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_clean(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.language_info == {"name": "python"}
    for cell in notebook.cells:
        assert cell.id == cell.id.lower()
        assert not cell.id[0].isdigit(), "ids are words, so that they stay"
        assert cell.metadata == {}
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("PYTHONPATH", str(path.parents[1]))
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=SECONDS_A_CELL,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    pages = list(tmp_path.glob("*.html"))
    assert len(pages) == 1
    assert 100_000 < pages[0].stat().st_size < 4_000_000
    said = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    warned = [output.text for output in said if output.output_type == "stream" and output.name == "stderr"]
    assert warned == []
