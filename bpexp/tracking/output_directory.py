"""Names and creates output directories, and makes Git ignore them.

>>> import tempfile
>>> from pathlib import Path
>>> from bpexp.tracking import output_directory
>>> with tempfile.TemporaryDirectory() as name:
...     output_directory.create(Path(name) / "outputs" / "artifacts")
...     (Path(name) / "outputs" / ".gitignore").read_text()
'*\\n'
"""

from pathlib import Path

from bpexp.tracking import durable


def create(folder: Path) -> None:
    """Create a directory with its parents; a new ``outputs/`` gets a ``.gitignore``.

    An ``outputs/`` that already has content belongs to the user and is left unchanged, unless
    all it contains is the ``sweeps/`` that Hydra creates before bpexp starts.

    Raises:
        OSError: The directory cannot be created, or the disk is full.
    """
    outputs = next((path for path in (folder, *folder.parents) if path.name == "outputs"), None)
    content = {path.name for path in outputs.iterdir()} if outputs and outputs.exists() else set()
    folder.mkdir(parents=True, exist_ok=True)
    if outputs and content <= {"sweeps"}:
        durable.write_file(outputs / ".gitignore", b"*\n")


def file_name(text: str) -> str:
    """A name for a file or folder: a foreign store may have any ids and names.

    >>> file_name("../../70bda3"), file_name("..")
    ('.._.._70bda3', 'experiment')
    """
    name = "".join(c if c.isalnum() or c in "-_." else "_" for c in text)[:100]
    # A name that consists of dots is another folder.
    return name if name.strip(".") else "experiment"
