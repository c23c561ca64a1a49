"""Every notebook runs from top to bottom."""

from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def kernel():
    """One for all notebooks, emptied between them: its imports take longer than many a notebook."""
    manager = KernelManager()
    yield manager
    if manager.has_kernel:
        manager.shutdown_kernel(now=True)


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_runs(path, kernel):
    notebook = nbformat.read(path, as_version=4)
    empty = nbformat.v4.new_code_cell("%reset -f\n%matplotlib inline")
    notebook.cells.insert(0, empty)
    client = NotebookClient(
        notebook, km=kernel, timeout=600, resources={"metadata": {"path": str(path.parent)}}
    )
    with client.setup_kernel(cleanup_kc=False):
        for k, cell in enumerate(notebook.cells):
            client.execute_cell(cell, k)
    outputs = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]
    assert any("image/png" in o.get("data", {}) for o in outputs)
