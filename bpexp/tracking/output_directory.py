"""Folders that the program makes; Git is to ignore an ``outputs/`` made for it."""

from pathlib import Path


def make(folder: Path) -> None:
    """Make a folder; where it begins an ``outputs/``, tell Git to ignore that. Raises OSError.

    One that holds anything is its user's, but for sweeps: Hydra may have been there before.
    """
    above = next((place for place in (folder, *folder.parents) if place.name == "outputs"), None)
    there = {path.name for path in above.iterdir()} if above and above.exists() else set()
    folder.mkdir(parents=True, exist_ok=True)
    if above and there <= {"sweeps"}:
        (above / ".gitignore").write_text("*\n")
