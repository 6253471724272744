"""What the user of a report chose."""

from dataclasses import dataclass, field

from bpexp.analysis.measure_choice import ANY_MEASURE, MeasureChoice
from bpexp.analysis.planning import Difference
from bpexp.runs.comparability import Settings


@dataclass(frozen=True)
class ReportOptions:
    """The options of a report.

    Attributes:
        choice: The measure that ranks the groups.
        seed: Seed for the choice of runs that are drawn in plots.
        per: A setting; the answer then compares the best settings within each of its values.
        only: Settings, as text, that the runs of the report have.
        detect: A difference; the report says how many seeds detect it.
    """

    choice: MeasureChoice = ANY_MEASURE
    seed: int = 0
    per: str | None = None
    only: Settings = field(default_factory=dict)
    detect: Difference | None = None


DEFAULTS = ReportOptions()
