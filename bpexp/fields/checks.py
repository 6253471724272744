"""Rules for the values of settings, and the error that a broken rule raises.

A rule is called with a key and a value. It returns the normalized value or raises
``ConfigError``; ``describe`` says which values it allows.

>>> Integer(1, 16)("data.bits", 4)
4
>>> Integer(1, 16)("data.bits", 17)
Traceback (most recent call last):
    ...
bpexp.fields.checks.ConfigError: data.bits must be a whole number in 1..16, got 17.
"""

import difflib
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from reprlib import Repr
from typing import Any, Protocol


class ConfigError(ValueError):
    """A setting breaks a rule. The message is one sentence that says what to change."""


class Rule(Protocol):
    """Checks the value of a setting."""

    def __call__(self, key: str, value: Any) -> Any:
        """The normalized value. Raises ConfigError if it is not allowed."""
        ...

    def describe(self) -> str:
        """The allowed values, as a phrase: ``a whole number of at least 1``."""
        ...


MAX_INTEGER = 10**15
"""Upper limit of integer settings: float64 and int64 represent all of them exactly."""
MAX_WIDTH = 10**6
"""Upper limit of the units in a layer."""
MAX_WORKERS = 1024
"""Upper limit of the number of workers."""

_repr = Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 200
_repr.maxlist = _repr.maxtuple = _repr.maxdict = 20


def brief(value: object) -> str:
    """The ``repr`` of a value, shortened in the middle if it is long."""
    return _repr.repr(value)


def _error(key: str, allowed: str, value: object) -> ConfigError:
    return ConfigError(f"{key} must be {allowed}, got {brief(value)}.")


@dataclass(frozen=True)
class Integer:
    """A whole number from ``low`` to ``high``; not a boolean, not a float."""

    low: int
    high: int | None = None

    def __call__(self, key: str, value: Any) -> int:
        """See ``Rule``."""
        too_high = self.high is not None and type(value) is int and value > self.high
        if type(value) is not int or value < self.low or too_high:
            raise _error(key, self.describe(), value)
        if value > MAX_INTEGER:
            raise _error(key, f"a whole number of at most {MAX_INTEGER}", value)
        return value

    def describe(self) -> str:
        """See ``Rule``."""
        if self.high is None:
            return f"a whole number of at least {self.low}"
        return f"a whole number in {self.low}..{self.high}"


@dataclass(frozen=True)
class Real:
    """A finite number with low <= value, above < value and value < below."""

    low: float = -math.inf
    above: float = -math.inf
    below: float = math.inf

    def __call__(self, key: str, value: Any) -> float:
        """See ``Rule``."""
        if (
            type(value) not in (int, float)
            or abs(value) > 1e308
            or not math.isfinite(value)
            or not (self.low <= value and self.above < value < self.below)
        ):
            raise _error(key, self.describe(), value)
        # Adding 0 turns -0.0 into 0.0, so that equal settings have equal bits.
        return float(value) + 0.0

    def describe(self) -> str:
        """See ``Rule``."""
        bounds = []
        if self.low > -math.inf:
            bounds.append(f"of at least {self.low:g}")
        if self.above > -math.inf:
            bounds.append(f"above {self.above:g}")
        if self.below < math.inf:
            bounds.append(f"below {self.below:g}")
        return " ".join(["a finite number", " and ".join(bounds)]).strip()


@dataclass(frozen=True)
class Boolean:
    """true or false."""

    def __call__(self, key: str, value: Any) -> bool:
        """See ``Rule``."""
        if not isinstance(value, bool):
            raise _error(key, self.describe(), value)
        return value

    def describe(self) -> str:
        """See ``Rule``."""
        return "true or false"


@dataclass(frozen=True)
class Text:
    """A non-empty text without control characters, which stores and terminals can hold."""

    max_length: int | None = None

    def __call__(self, key: str, value: Any) -> str:
        """See ``Rule``."""
        if not isinstance(value, str) or not value:
            raise _error(key, "a text", value)
        if not is_printable(value):
            raise _error(key, "a text without control characters, in UTF-8", value)
        if self.max_length is not None and len(value) > self.max_length:
            raise _error(key, self.describe(), value)
        return value

    def describe(self) -> str:
        """See ``Rule``."""
        return "a text" + (f" of at most {self.max_length} characters" if self.max_length else "")


@dataclass(frozen=True)
class OneOf:
    """One of several names: a collection such as a registry, or a function that returns one.

    The names are looked up at each use, so that later registrations count.
    """

    choices: Iterable[str] | Callable[[], Iterable[str]]

    def __call__(self, key: str, value: Any) -> str:
        """See ``Rule``."""
        if value not in self.names():
            raise _error(key, self.describe(), value)
        return str(value)

    def names(self) -> tuple[str, ...]:
        """The allowed names."""
        return tuple(self.choices() if callable(self.choices) else self.choices)

    def describe(self) -> str:
        """See ``Rule``."""
        names = self.names()
        return names[0] if len(names) == 1 else f"one of {', '.join(names)}"


@dataclass(frozen=True)
class Optional:
    """null, or a value that another rule allows."""

    rule: Rule

    def __call__(self, key: str, value: Any) -> Any:
        """See ``Rule``."""
        return None if value is None else self.rule(key, value)

    def describe(self) -> str:
        """See ``Rule``."""
        return f"null or {self.rule.describe()}"


@dataclass(frozen=True)
class Widths:
    """The width of one layer or a list of widths; an empty list means no hidden layer."""

    accepts_lists = True

    def __call__(self, key: str, value: Any) -> tuple[int, ...]:
        """See ``Rule``."""
        widths = value if isinstance(value, list | tuple) else [value]
        if any(type(width) is not int or width < 1 for width in widths):
            raise _error(key, self.describe(), value)
        if max(widths, default=0) > MAX_WIDTH:
            raise _error(key, f"a width of at most {MAX_WIDTH} or a list of such widths", value)
        return tuple(widths)

    def describe(self) -> str:
        """See ``Rule``."""
        return "a width of at least 1 or a list of such widths"


@dataclass(frozen=True)
class Names:
    """A name or a list of different names.

    Attributes:
        noun: What is named.
    """

    noun: str = "column name"
    accepts_lists = True

    def __call__(self, key: str, value: Any) -> tuple[str, ...]:
        """See ``Rule``."""
        names = value if isinstance(value, list | tuple) else [value]
        if not names or any(not isinstance(n, str | int) or isinstance(n, bool) for n in names):
            raise _error(key, self.describe(), value)
        if not all(is_printable(str(n)) for n in names):
            raise _error(key, f"a {self.noun} without control characters, in UTF-8", value)
        if len({str(n) for n in names}) < len(names):
            raise _error(key, f"a list of different {self.noun}s", value)
        return tuple(str(name) for name in names)

    def describe(self) -> str:
        """See ``Rule``."""
        return f"a {self.noun} or a list of {self.noun}s"


class Tags(dict[str, str]):
    """Tags by key. Hashable, because it is not changed after it was made."""

    def __hash__(self) -> int:  # type: ignore[override]
        """Equal tags have equal hashes."""
        return hash(frozenset(self.items()))


@dataclass(frozen=True)
class TagValues:
    """Texts by key, in groups of any depth; numbers and truth values become texts."""

    max_key = 200
    max_value = 5000
    reserved = ("mlflow.", "bpexp.")

    def __call__(self, key: str, value: Any) -> Tags:
        """See ``Rule``."""
        if not isinstance(value, Mapping):
            raise _error(key, self.describe(), value)
        found: dict[str, str] = {}
        for name, one in value.items():
            if isinstance(one, Mapping):
                found |= {f"{name}.{k}": text for k, text in self(f"{key}.{name}", one).items()}
            else:
                found[str(name)] = self._text(f"{key}.{name}", one)
        for name in found:
            full = f"{key}.{name}".removeprefix("tracking.tags.")
            if not re.fullmatch(r"[\w.\- /]+", full) or len(full) > self.max_key:
                raise ConfigError(
                    "tracking.tags must have keys of letters, digits, spaces, _, -, . and /, got "
                    f"{full!r}."
                )
            if full.startswith(self.reserved):
                raise ConfigError(
                    "tracking.tags must have no key that starts with mlflow. or bpexp., got "
                    f"{full!r}."
                )
        return Tags(found)

    def _text(self, key: str, value: Any) -> str:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        is_scalar = isinstance(value, str | int | float)
        if not is_scalar or len(text) > self.max_value or not is_printable(text):
            raise _error(key, f"a text of at most {self.max_value} characters", value)
        return text

    def describe(self) -> str:
        """See ``Rule``."""
        return "texts by key"


@dataclass(frozen=True)
class Separator:
    """A character, where a tab may be written as ``\\t`` and white space as ``\\s+``."""

    def __call__(self, key: str, value: Any) -> str:
        """See ``Rule``."""
        value = {"\\t": "\t", "\\s+": " "}.get(value, value) if isinstance(value, str) else value
        if not isinstance(value, str) or len(value) != 1 or value in '\r\n"' or value == "\0":
            raise _error(key, self.describe(), value)
        return value

    def describe(self) -> str:
        """See ``Rule``."""
        return r"one character, or \t for a tab, or \s+ for white space"


@dataclass(frozen=True)
class Workers:
    """A number of worker processes, or a negative number as in joblib's ``n_jobs``."""

    def __call__(self, key: str, value: Any) -> int:
        """See ``Rule``."""
        if type(value) is not int or value == 0 or abs(value) > MAX_WORKERS:
            raise _error(key, self.describe(), value)
        return value

    def describe(self) -> str:
        """See ``Rule``."""
        return f"a number of workers, or -1 for all processors, at most {MAX_WORKERS}"


_DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters that show the text after them in another order than it has."""


def is_printable(text: str) -> bool:
    """Whether a text has no control characters, surrogates or changes of the writing direction."""
    return not any(
        unicodedata.category(letter) in ("Cc", "Cs") or letter in _DIRECTIONS for letter in text
    )


def escaped(text: str) -> str:
    """The text with control characters other than newline and tab as Python escapes."""
    if is_printable(text):
        return text
    return "".join(c if c in "\n\t" or is_printable(c) else repr(c)[1:-1] for c in text)


SYNONYMS = {
    "learningrate": "lr", "eta": "lr", "alpha": "lr", "stepsize": "lr", "rate": "lr",
    "nepochs": "epochs", "numepochs": "epochs", "maxepochs": "epochs", "maxiter": "epochs",
    "iterations": "epochs", "steps": "epochs",
    "hiddensize": "hidden", "hiddensizes": "hidden", "hiddenunits": "hidden", "width": "hidden",
    "hiddenlayers": "hidden", "hiddenlayersizes": "hidden", "layers": "hidden", "nhidden": "hidden",
    "batchsize": "batch_size", "batch": "batch_size", "minibatch": "batch_size",
    "minibatchsize": "batch_size", "bs": "batch_size",
    "randomstate": "seed", "randomseed": "seed", "rng": "seed",
    "dataset": "data", "datafile": "data.path", "file": "data.path", "path": "data.path",
    "csv": "data.path", "label": "data.target", "y": "data.target",
    "testsize": "data.test_fraction", "testsplit": "data.test_fraction",
    "validationsplit": "data.validation_fraction", "valfraction": "data.validation_fraction",
    "scale": "data.standardize", "normalize": "data.standardize",
    "activationfunction": "model.activation", "outputactivation": "model.output",
    "lossfunction": "model.loss", "criterion": "model.loss", "network": "model",
    "architecture": "model", "opt": "optimizer", "solver": "optimizer", "algorithm": "optimizer",
    "wd": "optimizer.weight_decay", "l2": "optimizer.weight_decay",
    "lrschedule": "schedule", "scheduler": "schedule", "lrscheduler": "schedule",
    "earlystopping": "stop.patience", "tol": "stop.tolerance",
    **dict.fromkeys(("budgetminutes", "budgethours", "budgettime"), "budget.seconds"),
    "workers": "n_jobs", "jobs": "n_jobs", "numworkers": "n_jobs", "nworkers": "n_jobs",
    "njobs": "n_jobs", "cores": "n_jobs", "experiment": "tracking.experiment",
    "trackinguri": "tracking.uri", "uri": "tracking.uri",
    "mse": "half_squared", "meansquarederror": "half_squared", "squarederror": "half_squared",
    "logloss": "cross_entropy", "nll": "cross_entropy", "linear": "identity",
    "logistic": "sigmoid", "np": "numpy", "llvm": "compiled", "jit": "compiled",
    "bayes": "tpe", "bayesian": "tpe", "optuna": "tpe", "evolution": "cma_es", "halton": "sobol",
    "hyperopt": "tpe", "smac": "tpe", "gaussianprocess": "gp", "lrfinder": "lr_range",
    "latinhypercube": "sobol", "lhs": "sobol", "qmc": "sobol",
    **dict.fromkeys(("ntrials", "numtrials", "maxtrials"), "search.trials"), "sampler": "search",
    "acc": "accuracy", "loss": "final_loss", "valloss": "lowest_validation_loss",
    "validationloss": "lowest_validation_loss", "valacc": "validation_accuracy",
    "valaccuracy": "validation_accuracy", "testacc": "test_accuracy", "f1": "macro_f1",
}  # fmt: skip
"""Other names of settings, values and metrics, lower-case and without ``_``, ``-`` and dots."""


def unknown(key: str, known: Iterable[str]) -> ConfigError:
    """The error for a key that does not exist, with the key that was probably meant."""
    known = list(known)
    near = nearest(key, known)
    listed = (
        f"the keys are {', '.join(sorted(known))}"
        if len(known) <= 20
        else ("bpexp --help lists the keys")
    )
    hint = f"did you mean {near}?" if near else f"{listed}."
    return ConfigError(f"{key} is not a key of the configuration; {hint}")


def nearest(key: str, known: Iterable[str], similarity: float = 0.6) -> str | None:
    """The known key that was probably meant, or None.

    Tries, in this order: the spelling without case and separators, common synonyms, the last part
    of dotted keys, whether known or typed, and the similarity of the letters.

    Args:
        key: What was typed.
        known: The keys.
        similarity: The least share of equal letters, see ``difflib.get_close_matches``.

    >>> nearest("LearningRate", ["lr", "seed"]), nearest("bits", ["data.bits", "data.low"])
    ('lr', 'data.bits')
    >>> nearest("optimizer.learning_rate", ["lr", "optimizer.name"])
    'lr'
    """
    known = list(known)
    plain = {_plain(name): name for name in reversed(known)}
    for typed in (key, key.rpartition(".")[2]):
        meant = plain.get(_plain(typed)) or SYNONYMS.get(_plain(typed).replace(".", ""))
        if meant in known:
            return meant
    for name in known:
        if "." in name and _plain(name.rpartition(".")[2]) == _plain(key):
            return name
    close = difflib.get_close_matches(key, known, 1, similarity)
    return close[0] if close else None


def _plain(key: str) -> str:
    return key.lower().replace("_", "").replace("-", "")
