"""The notebooks run from top to bottom on the committed report, and are kept without outputs."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.made.runs.launched import ROOT

# A bare GPU machine has neither, and its tests of the GPU must run.
nbclient, nbformat = map(pytest.importorskip, ("nbclient", "nbformat"))

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore")  # of the notebook machinery itself
def test_a_notebook_runs_and_draws_two_pictures(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.fspath(ROOT))
    monkeypatch.setenv("MPLCONFIGDIR", os.fspath(tmp_path))
    notebook = opened(path)
    resources = {"metadata": {"path": os.fspath(path.parent)}}
    nbclient.NotebookClient(notebook, timeout=120, resources=resources).execute()
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert any("aten::mm" in str(output.get("data", {})) for output in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    for cell in code_cells(opened(path)):
        assert cell.outputs == []
        assert cell.execution_count is None


def opened(path: Path) -> Any:
    return nbformat.reads(path.read_text(), as_version=4)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_that_shows_something_has_a_caption_right_above(path: Path) -> None:
    """The first cell opens the report, and the last closes it: nothing to explain."""
    _, *cells, _ = opened(path).cells
    kinds = [cell.cell_type for cell in cells]
    assert kinds == [*("code", "markdown") * (len(cells) // 2), "code"]
