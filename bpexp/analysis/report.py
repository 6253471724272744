"""The report on one or more sweeps: built from tables of runs, given out in several formats."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bpexp.analysis import curves, figures, page, tables, words
from bpexp.analysis.agreement import Agreement, compare_sweeps
from bpexp.analysis.curves import Band, ReadLosses
from bpexp.analysis.findings import Findings, find
from bpexp.analysis.groups import (
    MEASURES,
    SWEEP,
    Grouped,
    Measure,
    available_measures,
    group,
    stops_on_convergence,
)
from bpexp.analysis.predictions import predictions
from bpexp.analysis.surface import ReadArtifact, Surface, surfaces
from bpexp.fields.checks import ConfigError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FORMATS = ("html", "md", "csv", "json")


@dataclass(frozen=True, eq=False)
class Report:
    """Findings with their figures, and what they were found with.

    ``agreement`` is there where two sweeps were read together; ``predictions`` are those of
    the best, the median and the worst run.
    """

    title: str
    findings: Findings
    agreement: Agreement | None
    bands: Sequence[Band]
    surfaces: Sequence[Surface]
    predictions: "pd.DataFrame"
    environment: Mapping[str, str]

    @cached_property
    def figures(self) -> "dict[str, Figure]":
        """By name, as matplotlib objects."""
        return figures.draw(self.findings, self.bands, self.surfaces)

    @property
    def question(self) -> str:
        """What was varied, and what is asked of it."""
        if self.agreement is not None:
            return f"Do the sweeps agree? {words.question(self.findings)}"
        return words.question(self.findings)

    @property
    def answer(self) -> str:
        """Two or three sentences with numbers."""
        if self.agreement is not None:
            return self.agreement.sentence
        return words.answer(self.findings)

    @property
    def table(self) -> "pd.DataFrame":
        """One row a group, the best first."""
        return tables.ranking(self.findings)

    def files(self, formats: Sequence[str]) -> dict[str, bytes]:
        """The report in these of ``FORMATS`` and its figures, by file name."""
        pictures = self._pictures
        write = {
            "html": lambda: page.html(self._parts, pictures),
            "md": lambda: page.markdown(self._parts, list(pictures)),
            "csv": lambda: self.table.to_csv(index=False),
            "json": lambda: json.dumps(self._plain(), indent=2, allow_nan=False) + "\n",
        }
        made = {f"report.{name}": write[name]().encode() for name in formats}
        return made | {f"figures/{name}.png": content for name, content in pictures.items()}

    @cached_property
    def _pictures(self) -> dict[str, bytes]:
        from bpexp.render.plots import png

        return {name: png(figure) for name, figure in self.figures.items()}

    @property
    def _parts(self) -> page.Parts:
        return page.Parts(
            self.title, self.question, self.answer, self.findings, self.agreement, self.environment
        )

    def _plain(self) -> dict[str, Any]:
        comparisons = [
            {"first": c.a.settings, "second": c.b.settings, "improvement": list(c.improvement),
             "difference": list(c.difference), "p": c.p, "p_holm": c.p_holm,
             "seeds_needed": c.seeds_needed}
            for c in self.findings.comparisons
        ]  # fmt: skip
        plain: dict[str, Any] = _finite({
            "title": self.title, "question": self.question, "answer": self.answer,
            "measure": self.findings.measure.key, "seed": self.findings.seed,
            "varying": {k: list(v) for k, v in self.findings.grouped.varying.items()},
            "groups": self.table.to_dict("records"), "comparisons": comparisons,
            "environment": dict(self.environment),
        })  # fmt: skip
        return plain


def _finite(value: Any) -> Any:
    """JSON has no infinity and no nan: the one as text, the other as null."""
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    if isinstance(value, float):
        return None if value != value else words.spelled(value)
    return value


def build(
    frame: "pd.DataFrame",
    title: str,
    environment: Mapping[str, str],
    read_losses: ReadLosses,
    read_artifact: ReadArtifact,
    measure: str | None = None,
    seed: int = 0,
) -> Report:
    """Group, sum up, compare and draw a table of runs.

    Raises ConfigError where no run has finished or none has the ``measure``.
    """
    grouped = group(frame)
    chosen = _measure(grouped, measure)
    findings = find(grouped, chosen, seed)
    bands = [curves.band(s.group, read_losses, seed) for s in figures.shown(findings)]
    agreement = None
    if len(grouped.varying.get(SWEEP, ())) == 2:
        agreement = compare_sweeps(grouped, chosen, seed)
    planes = surfaces(findings, read_artifact)
    answers = predictions(findings, read_artifact)
    return Report(title, findings, agreement, bands, planes, answers, environment)


def _measure(grouped: Grouped, wanted: str | None) -> Measure:
    there = available_measures(grouped)
    if wanted is None:
        return there[0] if stops_on_convergence(grouped) else MEASURES["final_loss"]
    if wanted not in [measure.key for measure in there]:
        raise ConfigError(
            f"--measure must be one of {', '.join(m.key for m in there)} for these runs, "
            f"got {wanted!r}."
        )
    return MEASURES[wanted]
