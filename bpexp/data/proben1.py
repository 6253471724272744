"""Files of the Proben1 collection (L. Prechelt, Technical Report 21/94, Karlsruhe 1994).

Seven lines ``key=value``, then a line of numbers for each example, inputs before outputs; the
first ``training_examples`` train, the next ``validation_examples`` validate, the rest test.
"""

from pathlib import Path

import numpy as np

from bpexp.fields.checks import ConfigError
from bpexp.typing import Array

COLUMNS = ("bool_in", "real_in", "bool_out", "real_out")
PARTS = ("training_examples", "validation_examples", "test_examples")


def read(path: str) -> tuple[Array, Array, tuple[str, ...], tuple[str, ...], bool]:
    """(X, Y, input names, target names, whether targets are classes), all examples in order.

    Raises ConfigError where the file will not do.
    """
    lines, head = _lines(path), _head(path)
    body, n_parts = lines[len(head) :], parts(path)
    n_in = head["bool_in"] + head["real_in"]
    n_out = head["bool_out"] + head["real_out"]
    if not n_in or not n_out or not n_parts[0]:
        raise ConfigError(
            f"data.path must hold inputs, outputs and training examples, got {path!r} with "
            f"{n_in}, {n_out} and {n_parts[0]}."
        )
    if len(body) != sum(n_parts):
        raise ConfigError(
            f"data.path must hold as many examples as its head says ({sum(n_parts)}), got "
            f"{len(body)} in {path}."
        )
    values = np.array([_numbers(line, n_in + n_out, path) for line in body])
    inputs = tuple(f"x{i + 1}" for i in range(n_in))
    targets = tuple(f"y{i + 1}" for i in range(n_out))
    return values[:, :n_in], values[:, n_in:], inputs, targets, head["real_out"] == 0


def parts(path: str) -> tuple[int, int, int]:
    """How many examples train, validate and test. Raises ConfigError as ``read``."""
    head = _head(path)
    train, validate, test = (head[key] for key in PARTS)
    return train, validate, test


def _head(path: str) -> dict[str, int]:
    head: dict[str, int] = {}
    for line in _lines(path):
        key, equals, value = line.partition("=")
        if not equals:
            break
        if key not in (*COLUMNS, *PARTS) or not value.isdecimal():
            raise ConfigError(
                f"data.path must be a file of the Proben1 collection, got the line {line[:60]!r} "
                f"in {path}."
            )
        head[key] = int(value)
    for key in (*COLUMNS, *PARTS):
        if key not in head:
            raise ConfigError(
                f"data.path must be a file of the Proben1 collection, got no {key} in {path}."
            )
    return head


def _lines(path: str) -> tuple[str, ...]:
    if not Path(path).is_file():
        raise ConfigError(f"data.path must be an existing file, got {path!r}.")
    try:
        text = Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"data.path must be a readable text file, got {path!r}.") from error
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _numbers(line: str, count: int, path: str) -> list[float]:
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        values = []
    if len(values) != count or not np.isfinite(values).all():
        raise ConfigError(
            f"data.path must hold {count} finite numbers in each example, got {line[:60]!r} "
            f"in {path}."
        )
    return values
