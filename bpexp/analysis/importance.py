"""The importance of searched settings by PED-ANOVA, as Optuna computes it.

S. Watanabe, A. Bansal, F. Hutter: PED-ANOVA, IJCAI 2023. It asks which settings differ most between
the best tenth of the trials and all of them. Unlike an analysis of variance of a full grid it
depends on where the search has looked. Optuna is imported when it is used, because it takes most of
a second and may not be installed.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LOG_RATIO = 30.0
"""A setting counts by its logarithm if its largest value is so many times the smallest one."""
MIN_TRIALS = 20
"""With fewer trials, the best tenth of them is a single one."""


def ped_anova(settings: Sequence[Mapping[str, str]], scores: Sequence[float]) -> dict[str, float]:
    """The importance of each setting, the largest first; they add up to 1.

    Args:
        settings: The settings of each trial, as text.
        scores: Their scores, smaller is better; inf for a trial without a value.

    Returns:
        The importances by setting; none if Optuna is not installed, or with too few trials.
    """
    known = [score for score in scores if np.isfinite(score)]
    if len(known) < MIN_TRIALS:
        return {}
    try:
        import optuna
    except ImportError:
        return {}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    columns = {key: [one[key] for one in settings] for key in settings[0]}
    distributions = {
        key: _distribution(optuna.distributions, texts) for key, texts in columns.items()
    }
    study = optuna.create_study(direction="minimize")
    for one, score in zip(settings, scores, strict=True):
        params = {key: _value(distributions[key], text) for key, text in one.items()}
        value = score if np.isfinite(score) else max(known)
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=distributions, value=value)
        )
    with warnings.catch_warnings():
        # Optuna calls some of its evaluators experimental.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def _distribution(distributions: Any, texts: Sequence[str]) -> Any:
    """Optuna's distribution of the values of a setting: numbers, or choices."""
    different = sorted(set(texts))
    try:
        values = [float(text) for text in different]
    except ValueError:
        return distributions.CategoricalDistribution(different)
    low, high = min(values), max(values)
    is_log = low > 0.0 and high >= LOG_RATIO * low
    if all(re.fullmatch(r"-?\d+", text) for text in different):
        return distributions.IntDistribution(int(low), int(high), log=is_log)
    return distributions.FloatDistribution(low, high, log=is_log)


def _value(distribution: Any, text: str) -> Any:
    return text if hasattr(distribution, "choices") else float(text)
