"""Where the compiled engine's code is kept between starts."""

import hashlib
import os
import tempfile
from functools import cache
from pathlib import Path


@cache
def folder() -> Path:
    """NUMBA_CACHE_DIR, else the user's cache; in it a folder for these very sources.

    Numba renews a cached function when its own file changes; the kernel is made of
    several, so their digest names the folder.
    """
    package = Path(__file__).resolve().parents[1]
    sha = hashlib.sha256()
    engine = [package / "engines" / name for name in ("kernel.py", "vectors.py")]
    for source in (*sorted((package / "nn").glob("*.py")), *engine):
        sha.update(source.read_bytes())
    asked = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    found = Path(asked).expanduser() / "bpexp" / sha.hexdigest()[:16]
    try:
        found.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="bpexp-"))
    return found


def is_compiled() -> bool:
    """Whether an earlier start has left compiled code."""
    return any(folder().rglob("kernel.advance-*.nbc"))
