"""The text of ``bpexp --help`` and the settings reference, rendered from the schema.

The meaning and the allowed values of a setting come from its declaration, its default and the
descriptions of a group's options from the YAML files. Hydra is not imported.

>>> "optimizer.beta1=0.9" in help_text(["optimizer=adam"])
True
>>> settings_reference().splitlines()[0]
'# Settings'
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import yaml

from bpexp.config import schema
from bpexp.config.options import OPTION_GROUPS, check_option, option_names
from bpexp.config.paths import conf_dir, option_files
from bpexp.fields import settings_of
from bpexp.fields.checks import ConfigError, brief

WIDTH = 80
COLUMN = 27
"""Where the second column starts."""

INTRODUCTION = """\
bpexp: sweeps of backpropagation, run in parallel and tracked in MLflow.

Usage:
  bpexp KEY=VALUE ...          train one run
  bpexp -m KEY=V1,V2,... ...   a sweep: train all combinations of the values
  bpexp COMMAND ...            run a command (COMMAND --help explains it)

Examples:
  One run:     bpexp lr=0.5 hidden=4
  A sweep:     bpexp -m lr=0.01,0.1,1 'seed=range(0,10)'
  Decimals:    bpexp -m 'lr=logspace(-3,0,7)' (0.001, 0.00316228, 0.01, ... 1;
                 six digits, the limits are exponents of 10)
                 bpexp -m 'data.low=linspace(0,0.4,5)' (0, 0.1, ... 0.4)
  Networks:    bpexp -m 'hidden=2,4,[8,4]'
  Pairs:       bpexp -m 'zip(lr=[0.1,0.01],hidden=[2,8])'
  Sub-sweeps:  bpexp -m 'optimizer=adam lr=0.01,0.1 | optimizer=momentum lr=1'
  A search:    bpexp -m 'lr=tag(log,interval(0.01,1))' seed=1,2,3 search=tpe
  A race:      bpexp -m lr=0.01,0.1,1 seeds=auto (bad combinations stop early)
  Other data:  bpexp data=parity data.bits=3 hidden=6
  Your data:   bpexp data=file data.path=my.csv data.target=y
  A study:     bpexp -m +study=fahlman_1988
  A cluster:   bpexp -m 'seed=range(0,1000)' backend=dask \\
                 backend.address=tcp://HOST:8786

Commands:
  ui                  open MLflow's pages on this store
  runs                list the runs in a table
  show RUN            show one run in full
  compare RUN RUN     show the differences between runs
  export RUN          save the network as an MLflow model and as ONNX
  predict RUN FILE    predict the targets of the rows of a file
  explain KEY=VALUE   show one training step, number by number
  reproduce RUN       train stored runs again and compare every bit
  verify RUN          check stored runs against their digests, without training
  bundle SWEEP        write a sweep to a zip file that reproduce and verify read
  resume SWEEP        finish a sweep that was interrupted
  extend SWEEP KEY=V  add runs to a sweep, such as further seeds
  report SWEEP        compare the combinations of a sweep, with statistics
  relocate            let a copied store use the artifacts in its own folder

Options:
  -h, --help          this text; with optimizer=adam it shows Adam's settings
  --hydra-help        the options of Hydra
  --cfg job           print the configuration, with -m those of all runs
  --dry-run           say how long training would take, and write nothing
  --version           print the version
"""


class Entry(NamedTuple):
    """A setting as it is shown to users."""

    key: str
    default: str
    description: str
    allowed: str


def help_text(overrides: Sequence[str] = ()) -> str:
    """The help, with the settings of the selected options.

    Args:
        overrides: Those of the command line; only the choices of options count.

    Raises:
        ConfigError: An option does not exist, or its file has no settings but a list or a value.
    """
    main = _yaml("config.yaml")
    chosen = _defaults(main)
    for override in overrides:
        group, _, name = override.partition("=")
        if group in OPTION_GROUPS and name:
            check_option(group, name)
            chosen[group] = name
    parts = [INTRODUCTION, "\nSettings (KEY=DEFAULT):\n", *_listing(_top_entries(main))]
    for group, config in _groups_without_options():
        parts += ["\n", *_listing(_entries(group, config, main[group]))]
    for group in OPTION_GROUPS:
        parts.append(f"\n{group}={chosen[group]}, one of:\n")
        for name in option_names(group):
            parts.append(_row(f"    {name}", _description(group, name)))
        parts += _listing(_option_entries(group, chosen[group]))
    return "".join(parts)


def settings_reference() -> str:
    """All settings as a page in Markdown."""
    main = _yaml("config.yaml")
    defaults = _defaults(main)
    lines = [
        "# Settings", "",
        "Settings are typed as `key=value`, and in Python as `key=value` with `__` for the dot.",
        "[What training computes](training.md) has the formulas behind them.",
        "This page is generated from the declarations of the settings.", "",
        *_table(_top_entries(main)),
    ]  # fmt: skip
    for group, config in _groups_without_options():
        lines += [f"## {group}", "", *_table(_entries(group, config, main[group]))]
    for group in OPTION_GROUPS:
        lines += [f"## {group}", ""]
        for name in option_names(group):
            default = " (default)" if name == defaults[group] else ""
            lines += [f"### {group}={name}{default}", "", f"{_description(group, name)}.", ""]
            lines += _table(_option_entries(group, name))
    return "\n".join(lines)


def _yaml(path: str) -> dict[str, Any]:
    return dict(yaml.safe_load((conf_dir() / path).read_text(encoding="utf-8")))


def _defaults(main: Mapping[str, Any]) -> dict[str, str]:
    """The default option of each group."""
    entries = [entry for entry in main["defaults"] if isinstance(entry, dict)]
    return {k: v for entry in entries for k, v in entry.items() if k in OPTION_GROUPS}


def _description(group: str, name: str) -> str:
    """The comment in the first line of an option's YAML file; "of your own" without one."""
    first, *_ = [*option_files(group)[name].read_text(encoding="utf-8").splitlines(), ""]
    comment = first.removeprefix("# ").strip(" .") if first.startswith("# ") else ""
    return comment or "of your own"


def _top_entries(main: Mapping[str, Any]) -> list[Entry]:
    return [
        *_entries("", schema.TrainConfig, main), *_entries("", schema.RuntimeConfig, main)
    ]  # fmt: skip


def _groups_without_options() -> list[tuple[str, type[Any]]]:
    """The groups of the main YAML file, with the dataclasses of their settings."""
    groups = schema.FIXED_GROUPS.items()
    return [(group, config) for group, config in groups if group not in OPTION_GROUPS]


def _option_entries(group: str, name: str) -> list[Entry]:
    file = option_files(group)[name]
    values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    if not isinstance(values, Mapping):
        raise ConfigError(f"{file} must have lines such as KEY: VALUE, got {brief(values)}.")
    option = values.get("name") if group in schema.NAMED_GROUPS else ""
    config = schema.configs_of(group).get(option) if isinstance(option, str) else None
    return [] if config is None else _entries(group, config, values)


def _entries(group: str, config: type, values: Mapping[str, Any]) -> list[Entry]:
    prefix = f"{group}." if group else ""
    declared = {s.name: s for s in settings_of(config)}
    return [
        Entry(prefix + name, _text(value), declared[name].description,
              declared[name].rule.describe())
        for name, value in values.items()
        if name in declared and (name != "name" or group not in schema.NAMED_GROUPS)
    ]  # fmt: skip


def _text(value: Any) -> str:
    """A value as users type it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return "..." if value == "???" else str(value)


def _listing(entries: Sequence[Entry]) -> Iterator[str]:
    for key, default, description, allowed in entries:
        yield _row(f"  {key}={default}", f"{description} ({allowed})")


def _row(left: str, right: str) -> str:
    """Two columns, the right one wrapped."""
    indent = " " * COLUMN
    lines = textwrap.wrap(
        right, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
    if len(left) < COLUMN - 1:
        lines[0] = left.ljust(COLUMN) + lines[0].lstrip()
    else:
        lines.insert(0, left)
    return "\n".join(lines) + "\n"


def _table(entries: Sequence[Entry]) -> list[str]:
    if not entries:
        return []
    rows = ["| key | default | meaning | allowed values |", "| --- | --- | --- | --- |"]
    for key, default, description, allowed in entries:
        shown = "required" if default == "..." else f"`{default}`"
        rows.append(f"| `{key}` | {shown} | {description} | {allowed} |")
    return [*rows, ""]
