"""Train one run or a sweep: hand the command line to Hydra, and the composed runs to the app."""

import contextlib
import itertools
import logging
import os
import re
import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from bpexp import __version__
from bpexp.cli import exits, typed
from bpexp.config import paths
from bpexp.config.options import expand_shorthands
from bpexp.fields import checks
from bpexp.fields.checks import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig

FAILED = 1
"""Exit status of a run or sweep with bad settings."""


def main(arguments: Sequence[str]) -> None:
    """Train what ``arguments`` describe; end the program on bad input."""
    paths.use_config_dir(arguments)
    if not {"-h", "--help"}.isdisjoint(arguments):
        with exits.exit_on_error(arguments, FAILED):
            # Imported late: only --help needs it.
            from bpexp.config.help import help_text

            paths.check_own_files()
            sys.stdout.write(help_text(arguments))
        return
    arguments = expand_shorthands(arguments)
    # Imported late: --help does not need it.
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    tracebacks = exits.full_tracebacks()
    # --info is printed by loggers, which print a traceback for each line of a closed pipe.
    logging.raiseExceptions = tracebacks
    with exits.exit_on_error(arguments, FAILED):
        paths.check_own_files()
        options = _parser(hydra.__version__, arguments).parse_args(arguments)
        overrides = [*options.overrides, *(["dry_run=true"] if options.dry_run else [])]
        arguments = typed.without_own_options(arguments, options)
        command_line = typed.read(arguments, overrides, is_sweep=options.multirun)
        shows_jobs = options.multirun and options.cfg is not None
        command_line = replace(command_line, shows_jobs=shows_jobs)
    _exit_on_empty_value(overrides)
    typed.CURRENT.set(command_line)
    own = paths.own_dir() if options.config_dir is None else None
    folder = [] if own is None else ["--config-dir", str(own)]
    sys.argv[1:] = [*folder, *command_line.for_hydra]

    def task(config: "DictConfig") -> float | None:
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            # A job of another launcher, which reports the error when all jobs have ended.
            return _run(config)
        # Hydra would add a line to an error that passes through it.
        with exits.exit_on_error(overrides, FAILED, tracebacks=tracebacks):
            return _run(config)

    with exits.exit_on_error(overrides, FAILED, tracebacks=tracebacks), _errors_from_hydra():
        hydra.main(version_base="1.3", config_path=str(paths.conf_dir()), config_name="config")(
            task
        )()


def _parser(hydra_version: str, arguments: Sequence[str]) -> ArgumentParser:
    """Return Hydra's parser, with the version of bpexp and with errors of one sentence."""
    from bpexp.config.hydra_internals import command_line_parser

    parser = ArgumentParser(
        parents=[command_line_parser()], add_help=False, conflict_handler="resolve"
    )
    version = f"bpexp {__version__} (Hydra {hydra_version})"
    parser.add_argument("--version", action="version", version=version)
    parser.add_argument("--dry-run", action="store_true")
    parser.error = partial(_refuse, arguments)  # type: ignore[method-assign]
    return parser


def _exit_on_empty_value(overrides: Sequence[str]) -> None:
    """End the program if a setting has no value, which Hydra would read as an empty text."""
    if not any(text.endswith("=") for text in overrides):
        return
    # Imported late, with the schema and NumPy: most command lines are valid.
    from bpexp.cli import syntax

    if syntax.has_empty_value(overrides):
        exits.exit_with(syntax.explain(overrides) or "", FAILED)


def _refuse(arguments: Sequence[str], message: str) -> NoReturn:
    """Raise ConfigError for options that Hydra refuses; ``message`` is from argparse."""
    valueless = re.match(r"argument (?:--\w+/)?(-\w+): ignored explicit argument '(.*)'", message)
    if valueless:
        raise ConfigError(f"{valueless[1]} takes no value; type {valueless[1]} {valueless[2]}.")
    found = re.match(r"unrecognized arguments: (\S+)", message)
    if found is None:
        raise ConfigError(f"{message}; --help lists the options.")
    option = found[1]
    key, equals, value = option.lstrip("-").partition("=")
    if not option.startswith("-"):
        raise ConfigError(f"Options come before all settings: bpexp {_reordered(arguments)}.")
    if option.lower() in ("-m", "-v"):
        near = {"-m": "-m", "-v": "--version"}[option.lower()]
        raise ConfigError(f"{option} is not an option; did you mean {near}?")
    following = dict(itertools.pairwise(arguments)).get(option, "")
    if not equals and not following.startswith("-") and "=" not in following:
        value = following
    # Imported late, with the schema and NumPy: most command lines are valid.
    from bpexp.config.schema import keys

    near = checks.nearest(key.replace("-", "_"), keys()) or "key"
    raise ConfigError(
        f"{option} is not an option; settings have no dashes and an = "
        f"({near}={value or '...'}), --help lists them."
    )


def _reordered(arguments: Sequence[str]) -> str:
    options = [text for text in arguments if text.startswith("-")]
    return shlex.join([*options, *(text for text in arguments if text not in options)])


@contextlib.contextmanager
def _errors_from_hydra() -> Iterator[None]:
    """Make Hydra raise its errors, which it would otherwise print in several lines."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before


def _run(config: "DictConfig") -> float | None:
    """Train a single run: called once without -m, and per job by launchers other than bpexp's.

    Returns:
        The objective, for sweepers such as Optuna's; infinite if the run diverged.
    """
    # Imported late, because Hydra's --help and --info never come here.
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    from bpexp import app
    from bpexp.cli.terminal import TerminalReporter
    from bpexp.sweeps.plan import single_run_plan
    from bpexp.sweeps.ranking import value_of

    composed = OmegaConf.to_container(config, resolve=True)
    hydra = HydraConfig.get()
    # Relative paths of data and store start from where the program was started, even if Hydra
    # has changed the directory.
    with contextlib.chdir(hydra.runtime.cwd):
        plan = single_run_plan(composed, hydra.overrides.task)  # type: ignore[arg-type]
        if plan.runtime.dry_run:
            app.dry_run(plan, TerminalReporter())
            return None
        finished = app.run_single(plan, TerminalReporter())
    if finished.status == "FAILED" and hydra.mode is RunMode.MULTIRUN:
        raise ValueError(f"{finished.rows[0].job.name}: {finished.rows[0].reason}")
    status = app.EXIT_STATUS[finished.status]
    if status:
        sys.exit(status)
    return value_of(finished.rows[0], finished.ranking.objective)
