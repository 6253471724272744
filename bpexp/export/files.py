"""The files that a served model consists of."""

import hashlib
import json
from pathlib import Path

import numpy as np

from bpexp.export.trained import Trained

PACKAGE = Path(__file__).parents[1]
CARRIED = ("typing.py", "nn/*.py", "fields/*.py")
"""Modules that ``served.py`` needs, and all that these import."""


def write(trained: Trained, folder: Path) -> Path:
    """Write ``served.py``, ``weights.npz``, ``settings.json`` and a package of code.

    Returns the package's folder. Its name says what is in it, so that models of different
    versions of bpexp, and bpexp itself, can be loaded into one process.
    """
    sources = {
        path.relative_to(PACKAGE): path.read_text(encoding="utf-8")
        for pattern in CARRIED
        for path in sorted(PACKAGE.glob(pattern))
    }
    digest = hashlib.sha256("".join(sources.values()).encode()).hexdigest()[:10]
    code = folder / f"bpexp_{digest}"
    for name in sources:
        (code / name).parent.mkdir(parents=True, exist_ok=True)
    (code / "__init__.py").write_text('"""What of bpexp a served model needs."""\n')
    for name, source in sources.items():
        (code / name).write_text(_renamed(source, code.name), encoding="utf-8")
    script = (PACKAGE / "export" / "served.py").read_text(encoding="utf-8")
    (folder / "served.py").write_text(_renamed(script, code.name), encoding="utf-8")
    np.savez(folder / "weights.npz", **trained.arrays)  # type: ignore[arg-type]
    (folder / "settings.json").write_text(json.dumps(trained.settings))
    return code


def _renamed(source: str, name: str) -> str:
    return source.replace("from bpexp.", f"from {name}.").replace("from bpexp ", f"from {name} ")
