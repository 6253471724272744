"""What a stored run is, as text to be shown and compared: settings, figures, surroundings."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import yaml

from bpexp.config.schema import flatten
from bpexp.fields.checks import ConfigError
from bpexp.tracking import read
from bpexp.tracking.archive import Archive, stored

if TYPE_CHECKING:
    from bpexp.tracking.read import Run

OWN = ("bpexp.sweep", "bpexp.process", "bpexp.config", "bpexp.identity")
"""Tags that differ between any two runs, or say again what parameters say."""


@dataclass(frozen=True)
class Surroundings:
    """What a run was made with, as far as it or its sweep keeps it.

    ``packages`` and ``libraries`` (BLAS, OpenMP) by name; ``composed``: of a sweep, its first
    run's configuration, dotted; ``diff``: git's, of changes that no commit held.
    """

    packages: Mapping[str, str]
    libraries: Mapping[str, str]
    composed: Mapping[str, str]
    diff: str


def surroundings(archive: Archive, found: "Run") -> Surroundings:
    """Raises ConfigError where what is kept is not what bpexp writes."""
    run = stored(found)
    try:
        # The tag may say anything; only a run that is there is read.
        owner = archive.find(run.parent).run_id if run.parent else run.run_id
    except ConfigError:
        owner = run.run_id
    packages, libraries = _environment(archive.file_if_any(owner, "environment.json"), owner)
    composed = archive.file_if_any(owner, "config.yaml") if run.is_sweep else None
    diff = archive.file_if_any(owner, "git.diff") or b""
    return Surroundings(
        packages, libraries, _composed(composed, owner), diff.decode(errors="replace")
    )


def facts(run: "Run", around: Surroundings) -> dict[str, str]:
    """Configuration, metrics and surroundings of a run, those of its session left out."""
    tags = {
        k: v for k, v in run.data.tags.items() if k.startswith("bpexp.") and not k.startswith(OWN)
    }
    digest = hashlib.sha256(around.diff.encode()).hexdigest()[:12]
    return {
        "name": run.info.run_name or "",
        **around.composed,
        **read.settings(run),
        **{key: f"{value:.12g}" for key, value in read.metrics(run).items()},
        **tags,
        **({"git.diff": f"SHA-256 {digest}"} if around.diff else {}),
        **{f"library {name}": said for name, said in around.libraries.items()},
        **{f"package {name}": number for name, number in around.packages.items()},
    }


def differences(given: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Keys whose values are not all equal, with each one's value ('-' for none)."""
    keys = dict.fromkeys(key for one in given for key in one)
    rows = {key: [one.get(key, "-") for one in given] for key in keys}
    return {key: values for key, values in rows.items() if len(set(values)) > 1}


def _environment(content: bytes | None, run_id: str) -> tuple[dict[str, str], dict[str, str]]:
    """Packages and libraries of ``environment.json``."""
    if content is None:
        return {}, {}
    try:
        kept = json.loads(content)
        packages, libraries = kept["packages"].items(), [dict(one) for one in kept["libraries"]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ConfigError(
            f"environment.json of run {run_id[:8]} must hold packages and libraries, got others."
        ) from error
    return {name: str(number) for name, number in packages}, dict(map(_library, libraries))


def _library(found: Mapping[str, Any]) -> tuple[str, str]:
    """By interface and the folder it was loaded from: more than one package brings a BLAS."""
    folder = PurePath(str(found.get("filepath"))).parent.name
    parts = [found.get(key) for key in ("version", "architecture", "threading_layer")]
    said = [str(part) for part in parts if part] + [f"{found.get('num_threads')} threads"]
    return f"{found.get('internal_api')} ({folder})", ", ".join(said)


def _composed(content: bytes | None, run_id: str) -> dict[str, str]:
    if content is None:
        return {}
    try:
        return {str(key): str(value) for key, value in flatten(yaml.safe_load(content)).items()}
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(
            f"config.yaml of run {run_id[:8]} must hold a sweep's settings, got others."
        ) from error
