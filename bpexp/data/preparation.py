"""How the columns of a table become the inputs of a network, fitted on the training rows.

Columns of numbers are features; a missing number becomes the median. A column of texts becomes one
feature for each text (one-hot). Then the features are standardized.

>>> import numpy as np
>>> X = np.array([[1.0, 0.0], [3.0, 1.0], [np.nan, 2.0]])
>>> fitted = fit(X, ("size", "color"), {"color": ("blue", "red", "teal")}, np.arange(2),
...     fill_missing=True)
>>> fitted.features
('size', 'color=blue', 'color=red')
>>> fitted.transform(X).tolist()
[[1.0, 1.0, 0.0], [3.0, 0.0, 1.0], [2.0, 0.0, 0.0]]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bpexp.data import tiles
from bpexp.data.splits import BLOCK_ROWS, Positions, moments, rows_of
from bpexp.fields.checks import ConfigError
from bpexp.typing import Array


@dataclass(frozen=True, eq=False)
class Preparation:
    """The fitted transformation of the inputs of a table.

    Attributes:
        columns: Names of the columns of the table.
        texts: The texts of each column of texts. A cell of the table is the position of its text.
        seen: The positions of those texts that a training row has; each is a feature.
        medians: What replaces a missing number, (n_columns,), 0 for columns of texts; None if no
            cell may be missing.
        features: Names of the inputs of the network.
        mean: Subtracted from the features, (n_features,); 0 without standardization.
        scale: Divides the features, (n_features,); 1 without standardization.
    """

    columns: tuple[str, ...]
    texts: Mapping[str, tuple[str, ...]]
    seen: Mapping[str, tuple[int, ...]]
    medians: Array | None
    features: tuple[str, ...]
    mean: Array
    scale: Array

    def encode(self, X: Array) -> Array:
        """The features before standardization, (n_rows, n_features).

        A missing text, and one that no training row has, is 0 in all features of its column.

        Args:
            X: Cells of the table, (n_rows, n_columns); NaN where they are missing.
        """
        if not self.texts and (self.medians is None or np.isfinite(X).all()):
            return X
        parts = []
        for place, name in enumerate(self.columns):
            column = X[:, place : place + 1]
            if name in self.texts:
                parts.append((column == np.array(self.seen[name])).astype(np.float64))
            elif self.medians is None:
                parts.append(column)
            else:
                parts.append(np.where(np.isnan(column), self.medians[place], column))
        return np.hstack(parts)

    def transform(self, X: Array) -> Array:
        """The inputs of the network, (n_rows, n_features), from cells as in ``encode``."""
        return self._standardized(self.encode(X))

    def _standardized(self, features: Array) -> Array:
        if not (self.mean.any() or (self.scale != 1.0).any()):
            return np.ascontiguousarray(features)
        standardized = tiles.empty(*features.shape)
        for top in range(0, len(features), BLOCK_ROWS):
            rows = standardized[top : top + BLOCK_ROWS]
            np.subtract(features[top : top + BLOCK_ROWS], self.mean, out=rows)
            rows /= self.scale
        return standardized


def fit(
    X: Array,
    columns: tuple[str, ...],
    texts: Mapping[str, tuple[str, ...]],
    train: Positions,
    *,
    standardize: bool = False,
    fill_missing: bool = False,
) -> Preparation:
    """Fit the transformation to the training rows of a table.

    Args:
        X: Cells of the table, (n_rows, n_columns); see ``Preparation``.
        columns: Names of the columns.
        texts: The texts of each column of texts.
        train: Numbers of the training rows.
        standardize: Whether numbers are scaled to mean 0 and deviation 1.
        fill_missing: Whether cells may be missing, here or in new rows.

    Raises:
        ConfigError: A column has no value in the training rows, or a deviation is not finite.
    """
    medians = np.zeros(len(columns)) if fill_missing else None
    seen: dict[str, tuple[int, ...]] = {}
    if fill_missing or texts:
        numbered = enumerate(zip(columns, tiles.columns_of(X, train), strict=True))
        for place, (name, cells) in numbered:
            known = cells[~np.isnan(cells)]
            if not known.size:
                raise ConfigError(
                    "data.missing must leave a value in every input column, but all cells of "
                    f"column {name!r} are missing in the training rows; leave it out with "
                    "data.drop."
                )
            if name in texts:
                seen[name] = tuple(int(position) for position in np.unique(known))
            elif medians is not None:
                medians[place] = _median(known)
    features = _feature_names(columns, texts, seen)
    fitted = Preparation(
        columns=columns,
        texts=dict(texts),
        seen=seen,
        medians=medians,
        features=features,
        mean=np.zeros(len(features)),
        scale=np.ones(len(features)),
    )
    return _with_moments(fitted, rows_of(X, train)) if standardize else fitted


def _feature_names(
    columns: Sequence[str],
    texts: Mapping[str, Sequence[str]],
    seen: Mapping[str, Sequence[int]],
) -> tuple[str, ...]:
    """The names of the features: a column of numbers, or each text that a training row has.

    Raises:
        ConfigError: Two features have the same name.
    """
    features: list[str] = []
    for name in columns:
        if name in texts:
            features += [f"{name}={texts[name][position]}" for position in seen[name]]
        else:
            features.append(name)
    if len(set(features)) < len(features):
        twice = next(name for name in features if features.count(name) > 1)
        raise ConfigError(f"data.path must give different inputs, got {twice!r} twice.")
    return tuple(features)


def _median(values: Array) -> float:
    """Median; 0.0 for -0.0. NumPy sorts several times as fast as its ``median`` partitions."""
    middle = slice((len(values) - 1) // 2, len(values) // 2 + 1)
    # The mean of two huge values in the middle is infinite.
    with np.errstate(over="ignore"):
        return float(np.sort(values)[middle].mean() + 0.0)


def _with_moments(fitted: Preparation, X: Array) -> Preparation:
    """The preparation with the moments of its features of numbers, not of texts."""
    features = fitted.encode(X)
    mean, scale = moments(features)
    if not np.isfinite(scale).all():
        raise ConfigError(
            "data.standardize=true must have inputs whose squares add up to a finite number, "
            f"got up to {float(abs(features).max()):g}."
        )
    is_number = np.concatenate(
        [
            [False] * len(fitted.seen[name]) if name in fitted.seen else [True]
            for name in fitted.columns
        ]
    )
    mean, scale = np.where(is_number, mean, 0.0), np.where(is_number, scale, 1.0)
    return replace(fitted, mean=mean, scale=scale)
