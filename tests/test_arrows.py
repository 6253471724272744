"""Imports go one way, and heavy packages stay in their rooms."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "bpexp").rglob("*.py"))


def imports(file):
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_arrows(file):
    room = file.relative_to(ROOT / "bpexp").parts[0]
    used = imports(file)

    def uses(*names):
        return any(u == name or u.startswith(f"{name}.") for u in used for name in names)

    if room in ("nn", "training", "data", "config", "runs", "fields"):
        assert not uses("hydra", "omegaconf", "joblib", "mlflow", "bpexp.sweeps", "bpexp.tracking")
    if room == "nn":
        assert not uses("bpexp.config", "bpexp.data")
    if file.name not in ("local.py", "processes.py"):
        assert not uses("joblib")
    if file.name not in ("dask_cluster.py", "dask_worker.py"):
        assert not uses("dask", "distributed")
    # served.py is copied into models and run by MLflow; nothing here imports it.
    if room != "tracking" and file.name not in ("commands.py", "served.py"):
        assert not uses("mlflow")
    if room == "tracking":
        assert not uses("bpexp.nn", "bpexp.sweeps", "bpexp.cli")
