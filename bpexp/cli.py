"""The command line: Hydra's overrides, and verbs beside them."""

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from omegaconf import DictConfig

VERBS = ("ui", "runs", "show", "compare", "explain", "export", "reproduce", "resume", "report")


def main() -> None:
    """Run the program with ``sys.argv``; ends with exit status 1 or 2 on bad input."""
    arguments = sys.argv[1:]
    first = arguments[0] if arguments else ""
    if first == "explain":
        _explain(arguments[1:])
    elif first in VERBS:
        from bpexp import verbs

        verbs.main(arguments)
    elif first and re.fullmatch(r"[A-Za-z_]+", first):
        import difflib

        near = difflib.get_close_matches(first, VERBS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the verbs are {', '.join(VERBS)}."
        _stop(f"{first} is neither a verb nor key=value; {hint}", 2)
    else:
        _hydra()


def conf_dir() -> Path:
    """The folder of configurations: in a wheel inside the package, in a checkout beside it."""
    package = Path(__file__).resolve().parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def _hydra() -> None:
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from bpexp.checks import ConfigError

    # With this Hydra raises its errors rather than printing several lines and leaving.
    asked = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(_run)()
    except (ConfigError, HydraException, OmegaConfBaseException, ValueError) as error:
        if asked == "1":
            raise
        _stop(sentence(error), 1)
    except KeyboardInterrupt:
        _stop("Interrupted.", 130)
    finally:
        if asked is None:
            del os.environ["HYDRA_FULL_ERROR"]


def _explain(arguments: list[str]) -> None:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from bpexp.explain import command

    try:
        command.main(arguments)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        _stop(sentence(error), 1)


def _run(config: "DictConfig") -> None:
    """One run: what Hydra calls without -m, and per job with launchers other than ours."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    from bpexp import session
    from bpexp.checks import ConfigError
    from bpexp.sweeps import plan

    composed = OmegaConf.to_container(config, resolve=True)
    if isinstance(composed, dict) and composed.get("study") is not None:
        _stop("+study must go with -m: it is a sweep.", 1)
    try:
        made = plan.make([composed], HydraConfig.get().overrides.task)  # type: ignore[list-item]
        finished = session.run(made, is_sweep=False)
    except ConfigError as error:
        # Raised through Hydra it would come with a second line of Hydra's.
        _stop(str(error), 1)
    status = session.EXIT[finished.status]
    if status:
        sys.exit(status)


def sentence(error: Exception) -> str:
    """One sentence for an error, whoever raised it."""
    from bpexp import checks
    from bpexp.config import keys

    found = re.search(r"Could not override '([^']+)'", str(error))
    if found and found[1] not in keys():
        return str(checks.unknown(found[1], keys()))
    choice = re.search(
        r"Could not find '(\w+)/([^']+)'\s+Available options in '\w+':(.*?)Config", str(error), re.S
    )
    if choice:
        options = ", ".join(choice[3].split())
        return f"{choice[1]} must be one of {options}, got '{choice[2]}'."
    missing = re.search(r"Missing mandatory value: ([\w.]+)", str(error))
    if missing:
        return f"{missing[1]} must be given ({missing[1]}=...)."
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip())


def _stop(message: str, status: int) -> NoReturn:
    print(f"bpexp: {message}", file=sys.stderr)
    sys.exit(status)
