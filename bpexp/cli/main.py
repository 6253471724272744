"""The command line: Hydra's overrides, and verbs beside them."""

import atexit
import contextlib
import gc
import logging
import os
import re
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import DictConfig

VERBS = ("ui", "runs", "show", "compare", "explain", "export", "reproduce", "resume", "report")


def main() -> None:
    """Run the program with ``sys.argv``; ends with exit status 1 or 2 on bad input."""
    # MLflow's modules are a million objects that stay: the collector would go over them again
    # and again while they are imported, which takes a sixth of a short run's time.
    gc.set_threshold(200_000)
    # Nor has it to go over them at the end, which takes as long: the system frees them.
    atexit.register(gc.freeze)
    try:
        try:
            _choose(sys.argv[1:])
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader of a pipe (head, less) has left; what it wanted it has.
        from bpexp.cli import screen

        screen.mute()
        sys.exit(128 + signal.SIGPIPE)


def _choose(arguments: list[str]) -> None:
    first = arguments[0] if arguments else ""
    if first == "explain":
        _explain(arguments[1:])
    elif first in VERBS:
        from bpexp.cli import commands

        commands.main(arguments)
    elif first and re.fullmatch(r"[A-Za-z_]+", first):
        from bpexp.cli import errors
        from bpexp.config.schema import keys
        from bpexp.fields import checks

        near = checks.nearest(first, VERBS)
        hint = f"did you mean {near}?" if near else f"the verbs are {', '.join(VERBS)}."
        if first in keys():
            hint = f"a setting needs its value, without spaces: {first}=..."
        errors.stop(f"{first} is neither a verb nor key=value; {hint}", 2)
    elif {"-m", "--multirun"}.isdisjoint(arguments):
        _hydra(arguments)
    else:
        from bpexp.render import plot_process

        # What draws the sweep gets ready while Hydra and NumPy are imported here.
        with plot_process.beside():
            _hydra(arguments)


def _hydra(arguments: list[str]) -> None:
    import hydra
    from hydra._internal.utils import get_args_parser
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from bpexp import __version__
    from bpexp.cli import errors
    from bpexp.config.schema import conf_dir

    raw = errors.traceback_asked()
    # Hydra logs what --info prints: each line that a pipe does not take would be a traceback.
    logging.raiseExceptions = raw

    def run(config: "DictConfig") -> None:
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            # A job of another launcher's, which goes on with the others before it is told.
            _run(config)
            return
        # Raised through Hydra an error would come with a second line of Hydra's.
        with errors.told(arguments, 1, raw):
            _run(config)

    with errors.told(arguments, 1, raw), _errors_raised_by_hydra():
        # Hydra's parser, whose --version says Hydra's alone.
        parser = ArgumentParser(
            parents=[get_args_parser()], add_help=False, conflict_handler="resolve"
        )
        version = f"bpexp {__version__} (Hydra {hydra.__version__})"
        parser.add_argument("--version", action="version", version=version)
        errors.check_options(parser, arguments)
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(run)()


@contextlib.contextmanager
def _errors_raised_by_hydra() -> Iterator[None]:
    """Rather than printed in several lines before it leaves."""
    asked = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        if asked is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = asked


def _explain(arguments: list[str]) -> None:
    from bpexp.cli import errors, explain

    with errors.told(arguments, 1, errors.traceback_asked()):
        explain.main(arguments)


def _run(config: "DictConfig") -> None:
    """One run: what Hydra calls without -m, and per job with launchers other than ours."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    from bpexp import app
    from bpexp.sweeps import plan

    composed = OmegaConf.to_container(config, resolve=True)
    hydra = HydraConfig.get()
    # Store and data are named from where the program was started, wherever Hydra has gone since.
    with contextlib.chdir(hydra.runtime.cwd):
        made = plan.single(composed, hydra.overrides.task)  # type: ignore[arg-type]
        finished = app.run(made, is_sweep=False)
    if finished.status == "FAILED" and hydra.mode is RunMode.MULTIRUN:
        raise ValueError(f"{finished.rows[0].name}: {finished.rows[0].reason}")
    status = app.EXIT[finished.status]
    if status:
        sys.exit(status)
