"""Refuses YAML whose aliases stand for more values than fit into memory ("billion laughs").

>>> check("a: &a [1, 2]\\nb: [*a, *a]", "conf/data/mine.yaml")
>>> check("a: &a [*a]", "conf/data/mine.yaml")
Traceback (most recent call last):
    ...
bpexp.fields.checks.ConfigError: conf/data/mine.yaml must not contain itself, as 'a' does.
"""

from contextlib import suppress
from typing import Any

import yaml

from bpexp.fields.checks import ConfigError

MAX_BYTES, MAX_DEPTH = 10_000_000, 50
"""The largest file, and the deepest nesting."""
MAX_VALUES = 20_000
"""The largest number of values with aliases replaced; Hydra composes a thousand a second."""


def check(content: bytes | str, name: str, max_values: int = MAX_VALUES) -> None:
    """Check the size of a YAML document without building it.

    Args:
        content: The document. A syntax error is left to what reads it.
        name: What error messages call the file.
        max_values: The largest number of values, with aliases replaced.

    Raises:
        ConfigError: The document is too large, too deep, or contains itself.
    """
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{name} must have at most {MAX_BYTES // 10**6} MB.")
    # The C parser of PyYAML 6.0.4 refuses deep nesting before it returns an event.
    for loader in (getattr(yaml, "CSafeLoader", yaml.SafeLoader), yaml.SafeLoader):
        with suppress(yaml.YAMLError):
            return _count(content, name, max_values, loader)


def _count(content: bytes | str, name: str, max_values: int, loader: Any) -> None:
    sizes: dict[str, int] = {}
    total, opened = 0, list[tuple[str | None, int]]()
    for event in yaml.parse(content, Loader=loader):
        if isinstance(event, yaml.AliasEvent):
            if any(event.anchor == anchor for anchor, _ in opened):
                raise ConfigError(f"{name} must not contain itself, as {event.anchor!r} does.")
            total += sizes.get(event.anchor or "", 0)
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, total))
            total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            if anchor:
                sizes[anchor] = total - before
        if total > max_values:
            raise ConfigError(
                f"{name} must have at most {max_values} values, each alias counted as what it "
                "stands for."
            )
        if len(opened) > MAX_DEPTH:
            raise ConfigError(f"{name} must be nested at most {MAX_DEPTH} deep.")
