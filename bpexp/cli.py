"""The command line: Hydra's overrides, and verbs beside them."""

import contextlib
import gc
import logging
import os
import re
import signal
import sys
from argparse import ArgumentParser
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from omegaconf import DictConfig

VERBS = ("ui", "runs", "show", "compare", "explain", "export", "reproduce", "resume", "report")


def main() -> None:
    """Run the program with ``sys.argv``; ends with exit status 1 or 2 on bad input."""
    # MLflow's modules are a million objects that stay: the collector would go over them again
    # and again while they are imported, which takes a sixth of a short run's time.
    gc.set_threshold(200_000)
    try:
        try:
            _choose(sys.argv[1:])
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader of a pipe (head, less) has left; what it wanted it has.
        from bpexp.review import screen

        screen.mute()
        sys.exit(128 + signal.SIGPIPE)


def _choose(arguments: list[str]) -> None:
    first = arguments[0] if arguments else ""
    if first == "explain":
        _explain(arguments[1:])
    elif first in VERBS:
        from bpexp import verbs

        verbs.main(arguments)
    elif first and re.fullmatch(r"[A-Za-z_]+", first):
        from bpexp import checks
        from bpexp.config import keys

        near = checks.nearest(first, VERBS)
        hint = f"did you mean {near}?" if near else f"the verbs are {', '.join(VERBS)}."
        if first in keys():
            hint = f"a setting needs its value, without spaces: {first}=..."
        _stop(f"{first} is neither a verb nor key=value; {hint}", 2)
    else:
        _hydra()


def _hydra() -> None:
    import hydra
    from hydra._internal.utils import get_args_parser

    from bpexp import __version__, mistakes
    from bpexp.config import conf_dir

    def run(config: "DictConfig") -> None:
        try:
            _run(config)
        except Exception as error:
            # Raised through Hydra it would come with a second line of Hydra's.
            if asked == "1":
                raise
            _stop(mistakes.sentence(error, sys.argv[1:]), 1)

    # With this Hydra raises its errors rather than printing several lines and leaving.
    asked = os.environ.get("HYDRA_FULL_ERROR")
    # Hydra logs what --info prints: each line that a pipe does not take would be a traceback.
    logging.raiseExceptions = asked == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        # Hydra's parser, whose --version says Hydra's alone.
        parser = ArgumentParser(
            parents=[get_args_parser()], add_help=False, conflict_handler="resolve"
        )
        version = f"bpexp {__version__} (Hydra {hydra.__version__})"
        parser.add_argument("--version", action="version", version=version)
        mistakes.check_options(parser, sys.argv[1:])
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(run)()
    except KeyboardInterrupt:
        _stop("Interrupted.", 130)
    except BrokenPipeError:
        raise
    except Exception as error:
        if asked == "1":
            raise
        _stop(mistakes.sentence(error, sys.argv[1:]), 1)
    finally:
        if asked is None:
            del os.environ["HYDRA_FULL_ERROR"]


def _explain(arguments: list[str]) -> None:
    from bpexp import mistakes
    from bpexp.explain import command

    try:
        command.main(arguments)
    except BrokenPipeError:
        raise
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        _stop(mistakes.sentence(error, arguments), 1)


def _run(config: "DictConfig") -> None:
    """One run: what Hydra calls without -m, and per job with launchers other than ours."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    from bpexp import session
    from bpexp.checks import ConfigError
    from bpexp.sweeps import plan

    composed = OmegaConf.to_container(config, resolve=True)
    if isinstance(composed, dict) and composed.get("study") is not None:
        raise ConfigError("+study must go with -m: it is a sweep.")
    hydra = HydraConfig.get()
    # Store and data are named from where the program was started, wherever Hydra has gone since.
    with contextlib.chdir(hydra.runtime.cwd):
        made = plan.make([composed], hydra.overrides.task)  # type: ignore[list-item]
        finished = session.run(made, is_sweep=False)
    status = session.EXIT[finished.status]
    if status:
        sys.exit(status)


def _stop(message: str, status: int) -> NoReturn:
    print(f"bpexp: {message}", file=sys.stderr)
    sys.exit(status)
