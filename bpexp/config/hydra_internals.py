"""All uses of Hydra's private interfaces, tested with the version ``TESTED``.

``tests/test_compose.py`` fails for another minor version of Hydra, so that these uses are checked
when the requirement in ``pyproject.toml`` is raised.
"""

from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, setup_globals
from omegaconf import DictConfig, open_dict

TESTED = "1.3"


def command_line_parser() -> ArgumentParser:
    """Hydra's parser of the command line."""
    return get_args_parser()


def config_loader(folder: Path, own: Path | None = None) -> ConfigLoader:
    """Hydra's loader of the YAML files in a folder, and in the user's folder if there is one.

    Unlike ``hydra.initialize_config_dir`` it has no global state, so that it works inside other
    Hydra applications.
    """
    setup_globals()
    # Hydra needs the version whose defaults apply; another application may have set it already.
    if not hasattr(version.getbase(), "major"):
        version.setbase("1.3")
    search_path = create_config_search_path(str(folder))
    if own is not None:
        before_schema = SearchPathQuery(provider="schema")
        search_path.prepend("own", f"file://{own}", anchor=before_schema)
    return ConfigLoaderImpl(search_path)


@contextmanager
def without_mode() -> Iterator[None]:
    """Let Hydra not look for ``hydra.mode``, where it is known that nothing sets it.

    ``hydra.main`` composes the whole configuration for it, and again for the run or sweep.
    """
    original = Hydra.get_mode
    Hydra.get_mode = lambda self, config_name, overrides: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        Hydra.get_mode = original  # type: ignore[method-assign]


@contextmanager
def current_job(config: DictConfig, number: int | None) -> Iterator[None]:
    """Let ``${hydra:...}`` stand for the settings of a job, as in a job that Hydra launches.

    Args:
        config: The configuration of the job, with its key ``hydra``.
        number: ``hydra.job.num`` and ``hydra.job.id``; None leaves them undefined.
    """
    if number is not None:
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
    hydra = HydraConfig.instance()
    before = hydra.cfg
    hydra.set_config(config)
    try:
        yield
    finally:
        hydra.cfg = before


def completed(overrides: Sequence[str], value: Any) -> JobReturn:
    """The result of a finished job."""
    return JobReturn(overrides=list(overrides), status=JobStatus.COMPLETED, _return_value=value)


def error_of(job: JobReturn) -> Any:
    """The error of a failed job; the public attribute would log it and raise it."""
    return job._return_value
