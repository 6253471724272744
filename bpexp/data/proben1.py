"""Files of the Proben1 collection (L. Prechelt, Technical Report 21/94, Karlsruhe 1994).

A file starts with seven lines ``key=value``. Each following line holds the inputs and outputs of
an example. The first ``training_examples`` are for training, the next ``validation_examples`` for
validation, the rest for testing.
"""

from dataclasses import dataclass

import numpy as np

from bpexp.data import data_file
from bpexp.data.registry import DATA_SOURCES, DataConfig, DataSource, Table
from bpexp.fields import REQUIRED, setting
from bpexp.fields.checks import ConfigError, Text

COLUMNS = ("bool_in", "real_in", "bool_out", "real_out")
PARTS = ("training_examples", "validation_examples", "test_examples")


@dataclass(frozen=True, kw_only=True)
class Proben1Config(DataConfig):
    """Settings of ``proben1``; the file defines the split, so the fractions must be 0."""

    path: str = setting(Text(), REQUIRED, "a .dt file, for instance proben1/cancer/cancer1.dt")


def load(config: Proben1Config) -> Table:
    """All examples in order, with the numbers of training, validation and test examples.

    Raises:
        ConfigError: The file cannot be read or is not a file of this collection.
    """
    path = config.path
    lines = _lines(path)
    header = _header(lines, path)
    body = lines[len(header) :]
    n_train, n_validation, n_test = (header[key] for key in PARTS)
    n_in = header["bool_in"] + header["real_in"]
    n_out = header["bool_out"] + header["real_out"]
    if not n_in or not n_out or not n_train:
        raise ConfigError(
            f"data.path must hold inputs, outputs and training examples, got {path!r} with "
            f"{n_in}, {n_out} and {n_train}."
        )
    n_examples = n_train + n_validation + n_test
    if len(body) != n_examples:
        raise ConfigError(
            f"data.path must hold as many examples as its header says ({n_examples}), got "
            f"{len(body)} in {path}."
        )
    values = np.array([_numbers(line, n_in + n_out, path) for line in body])
    inputs = tuple(f"x{i + 1}" for i in range(n_in))
    targets = tuple(f"y{i + 1}" for i in range(n_out))
    Y = values[:, n_in:]
    # The report codes classes 1-of-m: the largest output wins.
    is_one_hot = n_out > 1 and bool((np.isin(Y, (0.0, 1.0)).all(1) & (Y.sum(axis=1) == 1.0)).all())
    return Table(
        values[:, :n_in], Y, inputs, targets, header["real_out"] == 0,
        (n_train, n_validation, n_test), is_one_hot,
    )  # fmt: skip


DATA_SOURCES.register(DataSource("proben1", Proben1Config, load))


def _header(lines: tuple[str, ...], path: str) -> dict[str, int]:
    header: dict[str, int] = {}
    for line in lines:
        key, equals, value = line.partition("=")
        if not equals:
            break
        if key not in (*COLUMNS, *PARTS) or not value.isdecimal():
            raise ConfigError(
                f"data.path must be a file of the Proben1 collection, got the line {line[:60]!r} "
                f"in {path}."
            )
        header[key] = int(value)
    for key in (*COLUMNS, *PARTS):
        if key not in header:
            raise ConfigError(
                f"data.path must be a file of the Proben1 collection, got no {key} in {path}."
            )
    return header


def _lines(path: str) -> tuple[str, ...]:
    file = data_file.check(path)
    data_file.check_size(file.stat().st_size)
    try:
        text = file.read_text(encoding="ascii")
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
