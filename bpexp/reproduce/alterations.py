"""Finds what was altered in a stored run, by comparing it with the run trained again.

Use it where the digest of the new result equals the stored one, so that the new result is the
original: then every artifact and metric that differs from it was altered.
"""

from bpexp.runs.result import TrainResult
from bpexp.runs.run_tags import RESULT
from bpexp.sweeps import artifact_differences, integrity, metric_differences
from bpexp.sweeps.job import Job
from bpexp.sweeps.run_record import result_artifacts
from bpexp.tracking.archive import Archive
from bpexp.tracking.logged_curves import Curves
from bpexp.tracking.reading import StoredRun
from bpexp.tracking.stored_results import result_of
from bpexp.tracking.unreadable import UnreadableRunError


def alterations(
    run: StoredRun, archive: Archive, job: Job, result: TrainResult, curves: Curves
) -> list[str]:
    """What was altered in a stored run.

    Args:
        run: The run.
        archive: Where it is stored.
        job: Its configuration and data.
        result: Its original result.
        curves: Its logged curves.

    Returns:
        A sentence for each artifact and metric that is missing, damaged or altered; it names the
        first entry that differs.
    """
    expected = result_artifacts(result, job.dataset)
    found = [integrity.config_problem(run, job.config, archive)]
    found += integrity.value_problems(run, job.config)
    if run.outcome != result.outcome:
        found.append(
            f"The outcome was altered: it is {run.outcome!r}, training gives {result.outcome}."
        )
    files = [_file_problem(run, archive, name, content) for name, content in expected.items()]
    # Only altered artifacts are read a second time.
    swapped = _swapped(run, archive) if any(files) else ""
    found += [swapped] if swapped else files
    found += metric_differences.problems(run, result, curves)
    return [sentence for sentence in found if sentence]


def _swapped(run: StoredRun, archive: Archive) -> str:
    try:
        digest = result_of(run, archive).digest
    except UnreadableRunError:
        return ""
    is_own = digest == run.tags.get(RESULT)
    return "" if is_own else integrity.swapped(run, digest, archive)


def _file_problem(run: StoredRun, archive: Archive, name: str, expected: bytes) -> str:
    """How an artifact differs from its expected content; "" for the same numbers."""
    try:
        content = archive.file(run, name)
        return artifact_differences.first(name, content, expected, run, "training gives")
    except UnreadableRunError as error:
        return str(error)
