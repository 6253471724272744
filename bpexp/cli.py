"""The command line: Hydra's overrides, and verbs beside them."""

import contextlib
import gc
import os
import re
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from omegaconf import DictConfig

VERBS = ("ui", "runs", "show", "compare", "explain", "export", "reproduce", "resume", "report")


def main() -> None:
    """Run the program with ``sys.argv``; ends with exit status 1 or 2 on bad input."""
    # MLflow's modules are a million objects that stay: the collector would go over them again
    # and again while they are imported, which takes a sixth of a short run's time.
    gc.set_threshold(200_000)
    arguments = sys.argv[1:]
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

    from bpexp import mistakes
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
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        mistakes.check_options(get_args_parser(), sys.argv[1:])
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(run)()
    except KeyboardInterrupt:
        _stop("Interrupted.", 130)
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
