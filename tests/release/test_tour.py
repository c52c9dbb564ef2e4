"""The notebook that goes through it all."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from program import REPOSITORY, environment

TOUR = REPOSITORY / "docs" / "tour.ipynb"


def test_the_notebook_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(TOUR, tmp_path)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(tmp_path / TOUR.name, as_version=4)
    nbformat.validate(notebook)
    client = NotebookClient(
        notebook, timeout=500, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    told = "".join(str(cell.get("outputs")) for cell in notebook.cells)
    assert "'output_type': 'error'" not in told
    assert "'name': 'stderr'" not in told
    assert "fashion-mnist-cnn version 1" in told
    assert told.count("image/png") == 2
    assert "python -m fmnist_sweep +best=smoke-" in told


def test_it_is_kept_without_what_it_printed() -> None:
    notebook = nbformat.read(TOUR, as_version=4)
    assert [
        cell.outputs for cell in notebook.cells if cell.cell_type == "code" if cell.outputs
    ] == []
