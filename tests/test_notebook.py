"""The notebook runs without errors, here with fewer seeds and samples than in the docs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "docs" / "luck_of_the_seed.ipynb"


def outputs_and_text(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return outputs, "".join(output.get("text", "") for output in outputs)


# ipykernel and jupyter_client raise these warnings themselves.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")
def test_the_notebook_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("SEEDS", "12")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
            cell.source = cell.source.replace("DRAWS = 2000", "DRAWS = 20")
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=150, kernel_name="python3", resources=resources).execute()
    outputs, text = outputs_and_text(notebook)
    assert "Over 12 seeds on xor: which lr (1, 2) has the lowest final loss?" in text
    assert "All 12 seeds: P(lr=" in text
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2


def test_the_notebook_in_docs_has_its_outputs():
    outputs, text = outputs_and_text(nbformat.read(NOTEBOOK, as_version=4))
    assert "Over 10000 seeds on xor: which lr (1, 2) has the lowest final loss?" in text
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
