"""A package imports only packages below it, and heavy libraries only where ``LIBRARIES`` says.

Imports stand at the top of a module, but for those of ``LATE``.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "bpexp").rglob("*.py"))
LAYERS = (
    {"__main__"},
    {"cli"},
    {"api"},
    {"errors"},
    {"app"},
    {"reporter"},
    {"studies"},
    {"analysis", "explain", "export", "reproduce"},
    {"sweeps"},
    {"tracking"},
    {"training"},
    {"runs"},
    {"config"},
    {"data"},
    {"nn"},
    {"render"},
    {"guards"},
    {"fields"},
    {"interrupts", "typing", "__init__"},
)
"""From top to bottom; a package imports itself and the packages below."""
LEVEL = {package: level for level, packages in enumerate(LAYERS) for package in packages}

INSIDE_SWEEPS = {
    "grid": {"grid", "job"},
    "samplers": {"grid", "job", "samplers"},
}
"""The parts of ``bpexp.sweeps`` that a package in it imports."""

LIBRARIES = {
    "joblib": ("bpexp/sweeps/executors/",),
    "dask": ("bpexp/sweeps/executors/dask_",),
    "distributed": ("bpexp/sweeps/executors/dask_",),
    "llvmlite": ("bpexp/training/llvm/",),
    "mlflow": ("bpexp/tracking/", "bpexp/export/served.py"),
    "matplotlib": ("bpexp/render/", "bpexp/analysis/"),
    "hydra": (
        "bpexp/config/",
        "bpexp/cli/",
        "bpexp/sweeps/",
        "bpexp/studies/",
        "bpexp/errors/",
        "bpexp/api.py",
    ),
}
"""The beginnings of the files that may import a library."""

LATE = {
    "__init__.py", "analysis/importance.py", "api.py", "app/final_steps.py", "cli/exits.py",
    "cli/hydra_main.py", "cli/main.py", "cli/ranking.py", "data/file_settings.py",
    "export/publish.py", "export/served.py", "runs/predictions_file.py",
    "sweeps/samplers/search.py", "tracking/factory.py", "tracking/mlflow_internals.py",
    "tracking/process.py", "tracking/recovery.py", "tracking/retry.py", "tracking/store.py",
    "training/batching.py",
}  # fmt: skip
"""The modules that import in functions. The docstring of each says why."""


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """The statements inside a node at any depth, without those that only type checkers read."""
    is_for_hints = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    for part in ("body", "handlers", "cases", "orelse", "finalbody"):
        if part != "body" or not is_for_hints:
            for child in getattr(node, part, []):
                yield child
                yield from statements(child)


def imported(file: Path) -> Iterator[str]:
    """The modules that a file imports, at its top or in a function; not for type hints alone."""
    for node in statements(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "bpexp":
                yield from (f"bpexp.{alias.name}" for alias in node.names)
            else:
                yield node.module


def package_of(module: str) -> str:
    """The first part below bpexp; names that the package itself holds count as ``__init__``."""
    part = [*module.split("."), "__init__"][1]
    return part if part in LEVEL else "__init__"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_go_down(file: Path) -> None:
    name = str(file.relative_to(ROOT))
    own = file.relative_to(ROOT / "bpexp").parts[0].removesuffix(".py")
    wrong = []
    for module in imported(file):
        library = module.split(".")[0]
        if library == "bpexp":
            other = package_of(module)
            if own != "__init__" and other != own and LEVEL[other] <= LEVEL[own]:
                wrong.append(module)
        elif library in LIBRARIES and not name.startswith(LIBRARIES[library]):
            wrong.append(module)
    assert not wrong


@pytest.mark.parametrize("package", INSIDE_SWEEPS)
def test_packages_inside_sweeps_import_only_what_they_are_made_of(package: str) -> None:
    """What lists or proposes jobs knows nothing of plans, executors and results."""
    files = [file for file in FILES if file.parent == ROOT / "bpexp" / "sweeps" / package]
    assert files
    for file in files:
        modules = [module.split(".") for module in imported(file)]
        own = {parts[2] for parts in modules if parts[:2] == ["bpexp", "sweeps"]}
        assert own <= INSIDE_SWEEPS[package], file


def has_late_import(file: Path) -> bool:
    text = file.read_text()
    # Most files have the word at the top only, and need not be parsed.
    if not re.search(r"^(?!import |from ).*\bimport\b", text, re.MULTILINE):
        return False
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return any(
        isinstance(node, ast.Import | ast.ImportFrom)
        for function in ast.walk(ast.parse(text))
        if isinstance(function, functions)
        for node in ast.walk(function)
    )


def test_few_modules_import_in_functions_and_their_docstrings_say_why() -> None:
    late = [file for file in FILES if has_late_import(file)]
    assert {str(file.relative_to(ROOT / "bpexp")) for file in late} == LATE
    for file in late:
        assert "import" in (ast.get_docstring(ast.parse(file.read_text())) or ""), file
