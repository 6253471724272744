"""All uses of Hydra's private interfaces, tested with the version ``TESTED``.

``tests/test_compose.py`` fails for another minor version of Hydra, so that these uses are checked
when the requirement in ``pyproject.toml`` is raised.
"""

from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.utils import JobReturn, JobStatus

__all__ = ["TESTED", "BasicSweeper", "command_line_parser", "completed", "configured_overrides"]

TESTED = "1.3"


def command_line_parser() -> ArgumentParser:
    """Hydra's parser of the command line."""
    from hydra._internal.utils import get_args_parser

    return get_args_parser()


def configured_overrides(sweeper: BasicSweeper) -> list[str]:
    """The overrides that ``hydra.sweeper.params`` adds to those of the command line."""
    return list(sweeper._parse_config())


def completed(overrides: Sequence[str], value: Any) -> JobReturn:
    """The result of a finished job."""
    return JobReturn(overrides=list(overrides), status=JobStatus.COMPLETED, _return_value=value)


def error_of(job: JobReturn) -> Any:
    """The error of a failed job; the public attribute would log it and raise it."""
    return job._return_value
