"""The notebook runs as it stands, with fewer seeds and draws."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "docs" / "luck_of_the_seed.ipynb"


def printed(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return outputs, "".join(output.get("text", "") for output in outputs)


# The kernel's own messages, of ipykernel and jupyter_client.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")
def test_the_notebook_tells_its_story(monkeypatch, tmp_path):
    monkeypatch.setenv("SEEDS", "12")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
            cell.source = cell.source.replace("DRAWS = 2000", "DRAWS = 20")
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=150, kernel_name="python3", resources=resources).execute()
    outputs, text = printed(notebook)
    assert "Over 12 seeds on xor: which lr (1, 2) ends with the lowest loss?" in text
    assert "All 12 seeds: P(lr=" in text
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2


def test_the_notebook_is_kept_with_what_it_printed():
    outputs, text = printed(nbformat.read(NOTEBOOK, as_version=4))
    assert "Over 10000 seeds on xor: which lr (1, 2) ends with the lowest loss?" in text
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
