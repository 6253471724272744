"""Digests of the files and the metrics of a run, by which thousands of stored runs are checked.

The result digest of a run (``identity.of_result``) covers numbers, so that checking it takes
parsing every file. The digests here cover the bytes of each file, and all metrics together. These
depend on the tags with the identity, the result digest and the outcome, too: where one of these
was altered, or the files are those of another run, nothing matches. The tags with the configuration
and the arithmetic have a digest of their own. The parent run of a sweep has digests of its files;
several ones, with spaces between them, while a file is replaced; and once it has ended, one of the
tags with the best run, the objective and the verdict.

>>> from bpexp.runs import record_digests
>>> tags = {"bpexp.identity": "a1", "bpexp.result": "53e8", "bpexp.outcome": "completed"}
>>> record_digests.of_run(tags, {"a.npz": b"1"}, {"final_loss": 0.5})
{'a.npz': '6c6f3f190bb6866b', 'metrics': '089cd9fc04f5124e', 'tags': '5e253af543acda87'}
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache

from bpexp.data.dataset import Dataset
from bpexp.runs import run_tags
from bpexp.runs.metrics import METRICS

METRICS_KEY, NAMES_KEY, TAGS_KEY = "metrics", "names", "tags"
"""The keys of the digests that are not of files."""
DAMAGED = f"The tag {run_tags.DIGESTS} was altered: it does not contain the digests of files"
"""What is said of a tag that ``parse`` cannot read, without the end of the sentence."""
_DIGITS = 16
_TAGS = (run_tags.IDENTITY, run_tags.RESULT, run_tags.OUTCOME)
_SETTINGS_TAGS = (run_tags.CONFIG, run_tags.ARITHMETIC)
"""The tags of a run that its identity covers."""
SUMMARY_TAGS = (run_tags.BEST_RUN, run_tags.OBJECTIVE, run_tags.VERDICT)
"""The tags that the parent run of a sweep gets at its end."""

Tags = Mapping[str, str]


def of_run(
    tags: Tags,
    files: Mapping[str, bytes],
    metrics: Mapping[str, float],
    dataset: Dataset | None = None,
) -> dict[str, str]:
    """The digests of a run; ``as_tag`` makes them the value of the tag ``run_tags.DIGESTS``.

    Args:
        tags: The tags of the run.
        files: The content of each file of the run, by name.
        metrics: The final metrics by name.
        dataset: The data set of the run.

    Returns:
        Hexadecimal digits by the name of the file, for the metrics, the tags with the settings,
        and the names of the columns of the data set.
    """
    digests = {name: of_file(tags, name, files[name]) for name in sorted(files)}
    digests[METRICS_KEY] = of_metrics(tags, metrics)
    digests[TAGS_KEY] = of_settings_tags(tags)
    if dataset is not None:
        digests[NAMES_KEY] = of_names(dataset)
    return digests


def as_tag(digests: Mapping[str, str]) -> str:
    """The value of the tag with some digests by name; ``parse`` reads it."""
    return json.dumps(digests, separators=(",", ":"))


def of_sweep_file(name: str, content: bytes) -> str:
    """The digest of a file of the parent run of a sweep, which depends on no tag."""
    return of_file({}, name, content)


def of_file(tags: Tags, name: str, content: bytes) -> str:
    """The digest of one file of a run, see ``of_run``."""
    owner = " ".join([tags.get(key, "") for key in _TAGS])
    return hashlib.sha256(f"{owner} {name}\n".encode() + content).hexdigest()[:_DIGITS]


def of_metrics(tags: Tags, metrics: Mapping[str, float]) -> str:
    """The digest of the final metrics of a run; others, which users may add, are left out.

    Stores do not keep the sign of zero.
    """
    known = [f"{name} {float(metrics[name]) + 0.0!r}" for name in METRICS if name in metrics]
    return of_file(tags, METRICS_KEY, "\n".join(sorted(known)).encode())


def of_settings_tags(tags: Tags) -> str:
    """The digest of the tags of a run with its configuration and its arithmetic."""
    return _of_tags(tags, _SETTINGS_TAGS)


def of_summary_tags(tags: Tags) -> str:
    """The digest of the tags that the parent run of a sweep gets at its end."""
    return _of_tags(tags, SUMMARY_TAGS)


def _of_tags(tags: Tags, keys: Iterable[str]) -> str:
    values = json.dumps([tags.get(key, "") for key in keys])
    return hashlib.sha256(values.encode()).hexdigest()[:_DIGITS]


@lru_cache(maxsize=16)
def of_names(dataset: Dataset) -> str:
    """The digest of the names of inputs and targets, which the digest of a data set leaves out.

    Targets that are classes have the names of the classes.
    """
    names = json.dumps([dataset.inputs, dataset.targets])
    return hashlib.sha256(names.encode()).hexdigest()[:_DIGITS]


@lru_cache(maxsize=1)
def parse(value: str) -> Mapping[str, str]:
    """The digests of a run by name, from the value of the tag; empty if it is malformed.

    Several checks of a run ask for them in turn.
    """
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    is_valid = isinstance(found, dict) and all(isinstance(text, str) for text in found.values())
    return found if is_valid else {}


def match_values(tags: Tags, metrics: Mapping[str, float]) -> bool:
    """Whether metrics, configuration and arithmetic of a run have the digests in its tags."""
    recorded = parse(tags.get(run_tags.DIGESTS, ""))
    settings = of_settings_tags(tags)
    if recorded.get(TAGS_KEY, settings) != settings:
        return False
    return recorded.get(METRICS_KEY) == of_metrics(tags, metrics)


def match_files(tags: Tags, files: Mapping[str, bytes]) -> bool:
    """Whether a run has all files with a digest in its tags, and each has its digest."""
    recorded = parse(tags.get(run_tags.DIGESTS, ""))
    return all(
        name in files and of_file(tags, name, files[name]) == recorded[name]
        for name in file_names(recorded)
    )


def file_names(digests: Mapping[str, str]) -> list[str]:
    """The names of the files that have a digest, from the result of ``parse``."""
    return [name for name in digests if name not in (METRICS_KEY, NAMES_KEY, TAGS_KEY)]
