"""A plan as a file that is stored when its sweep starts, and read when it is resumed.

Gzipped lines of JSON: the session, the keys that vary, the arithmetic's versions, a digest of all
identities and the study; then each run's configuration as ``identity.written`` writes it.
"""

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Sequence

from bpexp.config.schema import TrainConfig, parse_session, parse_train, plain
from bpexp.fields.checks import ConfigError
from bpexp.nn.arithmetic import VERSIONS
from bpexp.runs import identity
from bpexp.studies import definition
from bpexp.sweeps import plan
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.samplers.grid import LARGEST
from bpexp.tracking.store import without_password

FILE = "plan.jsonl.gz"


def to_bytes(made: Plan) -> bytes:
    """The file's content; of the store's address without a password, as runs have it."""
    session = plain(made.session)
    session["tracking"]["uri"] = without_password(session["tracking"]["uri"] or "") or None
    head = {
        "session": session,
        "varying": made.varying,
        "arithmetic": VERSIONS,
        "identities": _identities(made.configs),
        "study": None if made.study is None else definition.to_plain(made.study),
    }
    lines = [json.dumps(head), *(identity.written(config) for config in made.configs)]
    return gzip.compress("\n".join(lines).encode(), compresslevel=3, mtime=0)


def from_bytes(content: bytes) -> Plan:
    """The plan. Raises ConfigError where it cannot be read or its data are no longer the same."""
    try:
        head, *lines = _unpacked(content).decode().split("\n")
        about = json.loads(head)
        if len(lines) > LARGEST:
            raise ValueError(f"{len(lines)} runs")
        configs = [parse_train(json.loads(line)) for line in lines]
        if not isinstance(about["session"], dict):
            raise TypeError("the session must be a mapping")
        # A plan that was kept before there were studies has no word of one.
        asked = about.get("study")
        study = None if asked is None else definition.parse(asked)
        made = plan.again(configs, parse_session(about["session"]), about["varying"], study)
    except ConfigError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError, EOFError,
            zlib.error) as error:  # fmt: skip
        raise ConfigError("the sweep's plan must be readable, got a broken file.") from error
    if about.get("identities") != _identities(configs):
        what = "data" if about.get("arithmetic") == VERSIONS else "data and arithmetic"
        raise ConfigError(
            f"{what} must be the same as when the sweep started, got others; start a new sweep."
        )
    return made


def _unpacked(content: bytes) -> bytes:
    """At most a gigabyte: a thousand bytes for each of a million runs."""
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        unpacked = file.read(10**9 + 1)
    if len(unpacked) > 10**9:
        raise ValueError("more than a gigabyte")
    return unpacked


def _identities(configs: Sequence[TrainConfig]) -> str:
    sha = hashlib.sha256()
    for config in configs:
        sha.update(identity.of_run(config).encode())
    return sha.hexdigest()
