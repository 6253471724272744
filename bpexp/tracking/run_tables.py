"""Tables of stored runs: a row for each run, and the order of the rows.

>>> from bpexp.tracking.reading import StoredRun
>>> run = StoredRun("70bda3e6", "seed=1", "FINISHED", params={"lr": "0.1"})
>>> frame([run])[["name", "lr"]].to_dict("records")
[{'name': 'seed=1', 'lr': 0.1}]
"""

import io
import json
import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from bpexp.config.schema import RUNTIME
from bpexp.fields.checks import ConfigError, nearest
from bpexp.runs import file_names, run_tags
from bpexp.runs.metrics import METRICS, Direction, listed
from bpexp.tracking.reading import Parts, Query, RunReader, StoredRun


def table_parts() -> Parts:
    """What ``frame`` needs of each run, metrics that were registered later included."""
    return Parts(tags=(run_tags.OUTCOME,), metrics=tuple(METRICS), data=False)


def settings(run: StoredRun) -> dict[str, str]:
    """The parameters of a run that its result depends on."""
    return {k: text for k, text in run.params.items() if k.partition(".")[0] not in RUNTIME}


def frame(runs: Iterable[StoredRun]) -> pd.DataFrame:
    """A table with one row per run: id, name, sweep, status, outcome, settings, metrics."""
    rows = list(runs)
    names = listed(run.metrics for run in rows)
    return pd.DataFrame(
        [
            {
                "run_id": run.run_id,
                "name": run.name,
                "sweep": run.parent or "",
                "status": run.status,
                "outcome": run.outcome or (run_tags.SWEEP_KIND if run.is_sweep else ""),
                **{key: _number_or_text(text) for key, text in sorted(settings(run).items())},
                **{key: run.metrics.get(key, float("nan")) for key in names},
            }
            for run in rows
        ]
    ).convert_dtypes()


def sorted_runs(
    reader: RunReader,
    experiment_id: str,
    query: Query,
    key: str,
    parts: Parts,
    limit: int | None = None,
) -> list[StoredRun]:
    """The runs that a query selects, by a metric, the best first, or by a setting.

    Args:
        reader: Reads the store.
        experiment_id: Id of the experiment.
        query: Selects the runs.
        key: Name of a metric or dotted key of a setting. Settings are in ascending order, numbers
            before texts; runs without a value are last.
        parts: What is read of each run.
        limit: Maximum number of runs.

    Raises:
        ConfigError: No run has such a metric or setting, or the filter is invalid.
    """
    only_key = Parts(params=(key,), tags=(), metrics=(key,), data=False)
    found = list(reader.search(experiment_id, query, only_key))
    if not any(key in run.metrics or key in run.params for run in found):
        raise _no_such_key(reader, [run.run_id for run in found[:1]], key)
    descending = key in METRICS and METRICS[key].direction is Direction.MAXIMIZE
    found.sort(key=partial(_sort_key, key, descending=descending))
    return list(reader.get([run.run_id for run in found[:limit]], parts))


def _no_such_key(reader: RunReader, run_ids: Sequence[str], key: str) -> ConfigError:
    """The error for a key of no run, with the key of the given runs that was probably meant."""
    known = [k for run in reader.get(run_ids) for k in (*run.metrics, *settings(run))]
    near = nearest(key, [*known, *METRICS])
    hint = f"; did you mean {near}?" if near else "."
    return ConfigError(f"--sort must be a metric or a setting of these runs, got {key!r}{hint}")


def _sort_key(key: str, run: StoredRun, *, descending: bool) -> tuple[int, float, str]:
    value = run.metrics[key] if key in run.metrics else _number_or_text(run.params.get(key, ""))
    if isinstance(value, str):
        return (1 if value else 2), 0.0, value
    if math.isnan(value):
        return 2, 0.0, ""
    return 0, (-value if descending else value), ""


def _number_or_text(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float) and not isinstance(value, bool) else text


def results_table(content: bytes, parent: StoredRun) -> pd.DataFrame:
    """The runs of a sweep, from the content of its artifact results.parquet.

    Raises:
        ConfigError: The content is malformed.
    """
    name = f"{file_names.RESULTS_PARQUET} of {parent.short_id}"
    try:
        table = pd.read_parquet(io.BytesIO(content))
    except Exception as error:
        # Parquet readers raise errors of many types for malformed files.
        raise ConfigError(f"{name} is damaged.") from error
    text_columns = ("run_id", "name", "outcome")
    required = (*text_columns, "seed", "final_loss", "epochs_run")
    missing = [key for key in required if key not in table.columns]
    if missing:
        raise ConfigError(f"{name} does not have the column {missing[0]}.")
    if not len(table):
        raise ConfigError(f"{name} does not have a row.")
    for key in METRICS:
        if key not in table.columns:
            # The metric was added to bpexp after the sweep.
            table[key] = np.nan
        try:
            table[key].astype("float64")
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{name} must contain numbers in the column {key}.") from error
    return table.astype(dict.fromkeys(text_columns, "str"))
