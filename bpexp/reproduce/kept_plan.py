"""A plan as a file that is stored when its sweep starts, and read when it is resumed.

Gzipped lines of JSON: the session, the keys that vary, a digest of all identities and the
study that it is, if it is one; then each run's configuration as ``identity.written`` writes it.
"""

import gzip
import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, replace

from bpexp.checks import ConfigError
from bpexp.config import TrainConfig, parse_session, parse_train, plain
from bpexp.reproduce import identity
from bpexp.study import definition
from bpexp.sweeps import plan
from bpexp.sweeps.plan import Plan

FILE = "plan.jsonl.gz"


def to_bytes(made: Plan) -> bytes:
    """The file's content. The store's address is left out: it may hold a password."""
    session = plain(made.session)
    session["tracking"]["uri"] = None
    head = {
        "session": session,
        "varying": made.varying,
        "overrides": made.overrides,
        "identities": _identities(made.configs),
        "study": None if made.study is None else asdict(made.study),
    }
    lines = [json.dumps(head), *(identity.written(config) for config in made.configs)]
    return gzip.compress("\n".join(lines).encode(), compresslevel=3, mtime=0)


def from_bytes(content: bytes) -> Plan:
    """The plan. Raises ConfigError where it cannot be read or its data are no longer the same."""
    try:
        head, *lines = gzip.decompress(content).decode().split("\n")
        about = json.loads(head)
        configs = [parse_train(json.loads(line)) for line in lines]
        made = plan.again(configs, parse_session(about["session"]), about["varying"])
        study = about.get("study")
        made = replace(made, study=None if study is None else definition.parse(study))
    except ConfigError:
        raise
    except (ValueError, KeyError, TypeError, OSError, EOFError, zlib.error) as error:
        raise ConfigError("the sweep's plan must be readable, got a broken file.") from error
    if about.get("identities") != _identities(configs):
        raise ConfigError(
            "data must be the same as when the sweep started, got others; start a new sweep."
        )
    return made


def _identities(configs: Sequence[TrainConfig]) -> str:
    sha = hashlib.sha256()
    for config in configs:
        sha.update(identity.of_run(config).encode())
    return sha.hexdigest()
