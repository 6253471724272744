"""The report on one or more sweeps: findings from a table of runs, written in several formats.

``bpexp.report()`` reads the runs from a store and returns a ``Report``.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol

from bpexp.analysis import (
    comparability,
    curves,
    group_labels,
    page,
    planning,
    plots,
    tables,
    words,
)
from bpexp.analysis.agreement import Agreement, compare_sweeps
from bpexp.analysis.best_per_value import BestPerValue, compare_best, full_key
from bpexp.analysis.curves import LossBands
from bpexp.analysis.effects import effects
from bpexp.analysis.findings import Findings, find
from bpexp.analysis.groups import SWEEP, group
from bpexp.analysis.objective_choice import OPTIMISTIC, choose
from bpexp.analysis.options import DEFAULTS, ReportOptions, with_settings
from bpexp.analysis.plots import PlotData
from bpexp.analysis.predictions import predictions
from bpexp.analysis.race import RaceFinding
from bpexp.analysis.surface import surface_grid, surfaces
from bpexp.analysis.variance import Decomposition, decompose
from bpexp.config.schema import TrainConfig
from bpexp.data import Dataset
from bpexp.fields.checks import ConfigError
from bpexp.render import html, latex, markdown
from bpexp.render.document import Document
from bpexp.render.figure_files import png, vector
from bpexp.runs.metrics import Split
from bpexp.runs.objective import Objective
from bpexp.typing import Array

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

TEXT_FORMATS = ("html", "md", "csv", "json", "tex")
"""Formats of the report as one file."""
FIGURE_FORMATS: tuple[Literal["pdf", "svg"], ...] = ("pdf", "svg")
"""Formats of the figures, which are always written as PNG files, too."""
FORMATS = (*TEXT_FORMATS, *FIGURE_FORMATS)


@dataclass(frozen=True, eq=False, kw_only=True)
class Report(PlotData):
    """What the plots are drawn from, with what else is said about the runs.

    Attributes:
        title: The names of the sweeps or of the experiment.
        agreement: The comparison of two sweeps on the combinations that both have; None if they
            have none in common, or unless exactly two were read together.
        best_per: The comparison of the best combinations within each value of a setting, if one was
            named, or of several sweeps that do not all have the same combinations.
        predictions: Predictions of the best, the median and the worst run, a row per run and
            sample.
        environment: Versions and machines that the runs were trained with.
        confirmation: The results of the best combinations in the sweep and on fresh seeds; "" if
            they were not trained again.
        plan: How many seeds detect the difference that the user named; "" if none was.
        caution: Why p-values of these runs are too small; "" if they are not.
        study: The verdicts of the sweep of a study; "" for other runs.
        left_out: How many runs of the sweep were deleted or not trained yet; "" if none.

    ``build`` needs a table of runs only. ``stored_report`` adds the attributes that have a default:
    they need the findings and the store.
    """

    title: str
    agreement: Agreement | None
    best_per: BestPerValue | None
    predictions: "pd.DataFrame"
    environment: Mapping[str, str]
    confirmation: str = ""
    plan: str = ""
    caution: str = ""
    study: str = ""
    left_out: str = ""

    @property
    def question(self) -> str:
        """What was varied and what is compared, as a question."""
        question = words.question(self.findings)
        if self.agreement is not None:
            return f"Do the sweeps agree? {question}"
        return (
            question if self.best_per is None else f"Which {self.best_per.key} is best? {question}"
        )

    @property
    def answer(self) -> str:
        """The result in a few sentences with numbers."""
        agreement = "" if self.agreement is None else self.agreement.sentence
        best_per = "" if self.best_per is None else self.best_per.sentences
        answer = "" if agreement or best_per else words.answer(self.findings)
        optimistic = OPTIMISTIC if self.findings.objective.split is Split.TEST else ""
        rates = "" if self.lr_range is None else self.lr_range.sentence
        parts = (
            self.study, rates, agreement, best_per, answer, optimistic, self.caution,
            self.left_out, self.confirmation, self.plan,
        )  # fmt: skip
        return " ".join(part for part in parts if part)

    @property
    def effect_sentences(self) -> list[str]:
        """How each setting matters, and the shares of the variance or the importances."""
        if self.trials is not None:
            importance = self.trials.importance
            return [*self.trials.sentences, *([importance] if importance else [])]
        sentences = [effect.sentence for effect in self.effects]
        return [*sentences, *([] if self.variance is None else [self.variance.sentence])]

    @cached_property
    def variance(self) -> Decomposition | None:
        """The shares of the settings and the seed in the variance; None if not a full grid."""
        has_no_grid = self.trials is not None or self.findings.is_race
        return None if has_no_grid else decompose(self.findings)

    @property
    def table(self) -> "pd.DataFrame":
        """One row per group, best first."""
        return tables.ranking(self.findings)

    @cached_property
    def figures(self) -> "dict[str, Figure]":
        """The plots as matplotlib figures, by name."""
        return dict(plots.draw(self))

    @cached_property
    def document(self) -> Document:
        """The report as a document with all plots."""
        return page.document(self, self._images)

    def files(self, formats: Sequence[str]) -> dict[str, bytes]:
        """The report's files by their relative path.

        Args:
            formats: Which of ``FORMATS`` to write. The plots are always written as PNG files, and
                as PDF files for LaTeX.
        """
        if {"tex", *FIGURE_FORMATS} & set(formats):
            # Drawn once: the PNG files are then made from these figures.
            _ = self.figures
        write = {
            "html": lambda: html.render(self.document),
            "md": lambda: markdown.render(self.document),
            "csv": lambda: self.table.to_csv(index=False),
            "json": lambda: json.dumps(self._json(), indent=2, allow_nan=False) + "\n",
            "tex": lambda: latex.render(page.paper(self, list(self.figures))),
        }
        files = {
            f"report.{name}": write[name]().encode() for name in TEXT_FORMATS if name in formats
        }
        files |= {f"figures/{name}.png": image for name, image in self._images.items()}
        for kind in FIGURE_FORMATS:
            if kind in formats or (kind == "pdf" and "tex" in formats):
                files |= {
                    f"figures/{name}.{kind}": vector(figure, kind)
                    for name, figure in self.figures.items()
                }
        return files

    @cached_property
    def _images(self) -> dict[str, bytes]:
        """The plots as PNG files; a figure takes several MB, and is kept no longer than needed."""
        has_figures = "figures" in self.__dict__
        figures = self.figures.items() if has_figures else plots.draw(self)
        return {name: png(figure) for name, figure in figures}

    def _json(self) -> dict[str, Any]:
        comparisons = [
            {"first": c.a.settings, "second": c.b.settings, "improvement": list(c.improvement),
             "difference": list(c.difference), "mean_difference": c.mean_difference,
             "pairs": c.n_pairs, "p": c.p, "p_adjusted": c.p_adjusted}
            for c in self.findings.comparisons
        ]  # fmt: skip
        content: dict[str, Any] = _finite({
            "title": self.title, "question": self.question, "answer": self.answer,
            "measure": self.findings.objective.name, "seed": self.findings.seed,
            "varying": {k: list(v) for k, v in self.findings.grouped.varying.items()},
            "groups": self.table.to_dict("records"), "comparisons": comparisons,
            **({} if self.best_per is None else {"best_per": self.best_per.as_json}),
            "effects": [effect.as_json for effect in self.effects],
            **({} if self.lr_range is None else {"lr_range": self.lr_range.as_json}),
            "rungs": [] if self.halving is None else [asdict(r) for r in self.halving.rungs],
            "variance": [s._asdict() for s in self.variance.shares] if self.variance else [],
            "environment": dict(self.environment),
        })  # fmt: skip
        return content


def _finite(value: Any) -> Any:
    """The value as JSON can hold it: an infinity as text, NaN as None (null)."""
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "infinity" if value > 0 else "-infinity"
    return value


class ArtifactReader(Protocol):
    """Reads what a table of runs does not contain."""

    def losses(self, rows: "pd.DataFrame", epochs: Array) -> Array:
        """Losses of runs at the given epochs, (n_runs, n_epochs); nan after the end of a run."""

    def validation_losses(self, rows: "pd.DataFrame", epochs: Array) -> Array:
        """Validation losses of runs at the given epochs, (n_runs, n_epochs)."""

    def artifact(self, row: Any, name: str) -> bytes | None:
        """The content of an artifact of a run; None if it does not exist."""

    def data(self, row: Any) -> tuple[TrainConfig, Dataset] | None:
        """The configuration and the data of a run; None if the data are not those of the run."""


def build(
    frame: "pd.DataFrame",
    title: str,
    environment: Mapping[str, str],
    reader: ArtifactReader,
    options: ReportOptions = DEFAULTS,
    find_race: Callable[[Objective], RaceFinding] | None = None,
) -> Report:
    """Group, summarize and compare the runs of a table.

    Args:
        frame: A row per run with its settings, outcome and final metrics.
        title: The names of the sweeps or of the experiment.
        environment: Versions and machines that the runs were trained with.
        reader: Reads loss curves and files of the runs.
        options: What the user chose.
        find_race: Of runs whose number of seeds follows from their results, what the race says
            about an objective.

    Raises:
        ConfigError: No run has finished, has the objective or the settings in ``options.only``, the
            runs cannot be ranked together, the values of ``options.per`` cannot be compared, or
            ``options.detect`` has nothing to refer to.
    """
    grouped = group(with_settings(frame, options.only))
    chosen, seed, per = choose(grouped, options.choice), options.seed, options.per
    raced = find_race(chosen) if find_race else None
    findings = find(grouped, chosen, seed, None if raced is None else raced.verdict)
    agreement, best_per = None, None
    if findings.is_race and (per is not None or options.detect is not None):
        raise ConfigError(
            "--per and --detect are for fixed numbers of seeds, but those of this sweep follow "
            "from its results (seeds=auto)."
        )
    if per is not None:
        best_per = compare_best(findings, full_key(findings, per))
    elif SWEEP in grouped.varying:
        agreement, best_per = _compare_sweeps(findings)
    if agreement is None:
        # Two sweeps may agree on several data sets: equal combinations are compared.
        comparability.check_one_ranking(grouped, chosen)
    return Report(
        title=title,
        findings=findings,
        agreement=agreement,
        best_per=best_per,
        effects=() if findings.is_race else effects(findings),
        curves=_curves(findings, reader, seed),
        surfaces=surfaces(findings, reader.artifact, reader.data),
        surface_grid=surface_grid(findings, reader.artifact, reader.data),
        predictions=predictions(findings, reader.artifact),
        environment=environment,
        plan=planning.sentence(findings, options.detect) if options.detect else "",
        race=None if raced is None else raced.result,
    )


def _curves(findings: Findings, reader: ArtifactReader, seed: int) -> dict[str, LossBands]:
    """The loss bands of the groups that are drawn as lines, by name."""
    return {
        s.group.name: LossBands(
            curves.band(s.group, reader.losses, seed),
            curves.validation_band(s.group, reader.validation_losses, seed),
        )
        for s in group_labels.summaries_as_lines(findings)
    }


def _compare_sweeps(findings: Findings) -> tuple[Agreement | None, BestPerValue | None]:
    """Compare sweeps on the combinations that they share, and their best combinations.

    Raises:
        ConfigError: The sweeps cannot be compared.
    """
    grouped, objective = findings.grouped, findings.objective
    sweeps, table = grouped.varying[SWEEP], grouped.groups[0].table
    comparability.check(grouped, SWEEP, sweeps, objective, ranked_by=objective)
    agreement = compare_sweeps(grouped, objective) if len(sweeps) == 2 else None
    has_more = agreement is None or not agreement.is_complete
    if agreement is not None and comparability.vary_in_data(table):
        has_more = False
    return agreement, compare_best(findings, SWEEP) if has_more else None
