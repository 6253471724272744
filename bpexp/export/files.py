"""Writes the files of an MLflow model: script, weights, settings and the code that it needs."""

import hashlib
import json
from pathlib import Path

import numpy as np

from bpexp.export.trained import TrainedNetwork

PACKAGE = Path(__file__).parents[1]

BUNDLED_MODULES = ("typing.py", "nn/*.py", "fields/*.py")
"""The modules that ``served.py`` imports, and the modules that those import."""


def write(trained: TrainedNetwork, folder: Path) -> Path:
    """Write ``served.py``, ``weights.npz``, ``settings.json`` and a package with bundled modules.

    The name of the package contains a digest of its code. Models exported by different versions
    of bpexp, and bpexp itself, can therefore be imported in one process.

    Args:
        trained: The network.
        folder: Existing folder for the files.

    Returns:
        The folder of the package.
    """
    sources = {
        path.relative_to(PACKAGE): path.read_text(encoding="utf-8")
        for pattern in BUNDLED_MODULES
        for path in sorted(PACKAGE.glob(pattern))
    }
    digest = hashlib.sha256("".join(sources.values()).encode()).hexdigest()[:10]
    package = folder / f"bpexp_{digest}"
    package.mkdir()
    (package / "__init__.py").write_text('"""The modules of bpexp that the model needs."""\n')
    for name, source in sources.items():
        (package / name).parent.mkdir(exist_ok=True)
        (package / name).write_text(_rename_package(source, package.name), encoding="utf-8")
    script = (PACKAGE / "export" / "served.py").read_text(encoding="utf-8")
    (folder / "served.py").write_text(_rename_package(script, package.name), encoding="utf-8")
    np.savez(folder / "weights.npz", **trained.arrays)  # type: ignore[arg-type]
    (folder / "settings.json").write_text(json.dumps(trained.settings))
    return package


def _rename_package(source: str, name: str) -> str:
    return source.replace("from bpexp.", f"from {name}.").replace("from bpexp ", f"from {name} ")
