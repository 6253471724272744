"""What people type for Hydra's sweep functions, from NumPy, SciPy, Optuna or habit.

>>> list(corrections("loguniform(1e-3,1)"))
[('loguniform is not a function here', 'tag(log,interval(1e-3,1))')]
>>> list(corrections("np.geomspace(0.001,1,4)"))
[('np.geomspace is not a function here', 'logspace(-3,0,4)')]
>>> list(corrections("logspace[-3,0,7]"))
[('logspace is written with parentheses', 'logspace(-3,0,7)')]
>>> list(corrections("int(intervl(2,8))"))
[('intervl is not a function here', 'int(interval(2,8))')]
"""

import math
import re
from collections.abc import Iterator

from bpexp.config.grammar import SPACES
from bpexp.fields import checks

FUNCTIONS = ("range", "choice", "interval", "shuffle", "sort", "tag", "int", *SPACES)
"""The functions of sweeps."""
_PLAIN = r"\(([^()]*)\)"
_INTERVALS = (
    (rf"log(interval{_PLAIN})", r"tag(log,\1)"),
    (rf"log\((interval{_PLAIN})\)", r"tag(log,\1)"),
    (rf"int\(log\((interval{_PLAIN})\)\)", r"tag(log,int(\1))"),
    (rf"tag\((interval{_PLAIN}),\s*log\)", r"tag(log,\1)"),
    (r"interval\(([^(),]+),([^(),]+),\s*log(?:=true)?\)", r"tag(log,interval(\1,\2))"),
    (r"interval\(log,([^()]*)\)", r"tag(log,interval(\1))"),
    (rf"(?:suggest_)?(?:log_?uniform|reciprocal){_PLAIN}", r"tag(log,interval(\1))"),
    (rf"int\(uniform{_PLAIN}\)", r"int(interval(\1))"),
    (rf"(?:suggest_int|rand_?int|int_?uniform|uniform_?int|int_?interval){_PLAIN}",
     r"int(interval(\1))"),
    (rf"(?:suggest_)?(?:uniform|float){_PLAIN}", r"interval(\1)"),
    (r"interval\(([^(),]+,[^(),]+,[^(),=]+)\)", r"range(\1)"),
    (rf"arange{_PLAIN}", r"range(\1)"),
    (r"interval\(([^(),]+,[^(),]+),\s*(?:step|q)=([^(),=]+)\)", r"range(\1,\2)"),
    (r"log\(([^(),]+,[^(),]+)\)", r"tag(log,interval(\1))"),
    (r"(?:categorical|suggest_categorical|choices)\(\[?([^()\[\]]*)\]?\)", r"choice(\1)"),
)  # fmt: skip
"""Notations of other programs, in any case, and that of Hydra."""


_LISTS = "list|tuple|set|array|sorted|sweep|grid|values|each"
"""Functions that people put around a list of values."""
_COUNTS = "count|n|number|size|samples|points|steps"
"""What people call the number of values of ``linspace`` and ``logspace``."""


def corrections(value: str) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a value that looks like a function, and what was probably meant.

    Args:
        value: What stands after the = of a setting.
    """
    found = re.match(r"([A-Za-z_][\w.]*)\s*[(\[]", value)
    if not found:
        return
    name = found[1]
    short = name.rpartition(".")[2]
    value = value[len(name) - len(short) :]
    problem = f"{name} is not a function here"
    for pattern, sweep in _INTERVALS:
        if re.fullmatch(pattern, value, re.IGNORECASE):
            meant = re.sub(pattern, sweep, value, flags=re.IGNORECASE).replace(" ", "")
            unknown = [one for one in re.findall(r"(\w+)\(", value) if one not in FUNCTIONS]
            if unknown:
                yield f"{name if short == unknown[0] else unknown[0]} is not a function here", meant
            elif "log" in sweep:
                yield "an interval is searched by its logarithm with tag(log,...)", meant
            else:
                yield "interval takes two limits", meant
    listed = re.fullmatch(rf"(?:{_LISTS})\(\s*\[?(.*?)\]?\s*\)", value, re.IGNORECASE)
    if listed and listed[1].count("(") == listed[1].count(")"):
        yield problem, listed[1].replace(" ", "")
    separated = re.sub(r"(?<=[\d.])\s*(?::|\.\.\.?|(?<=[\d])-)\s*(?=[\d.-])", ",", value)
    if separated != value and not re.search(r"\d[eE],", separated):
        yield "values are separated by commas", separated
    if short in SPACES and (counted := re.search(rf"\b({_COUNTS})\s*=", value)):
        meant = value.replace(counted[0], "num=").replace(" ", "")
        yield f"{counted[1]} is not an argument of {short}", meant
    spaced = re.fullmatch(r"geom_?space\(([^(),]+),([^(),]+),([^(),]+)\)", value, re.IGNORECASE)
    if spaced and (exponents := _exponents(spaced[1], spaced[2])):
        yield problem, f"logspace({exponents},{spaced[3].strip()})"
    function = next((one for one in FUNCTIONS if one == short.lower().replace("_", "")), None)
    rest = value[len(short) :].strip()
    if function and re.fullmatch(r"\[.*\]", rest):
        yield f"{function} is written with parentheses", f"{function}({rest[1:-1]})"
    elif function and function != name:
        yield problem, f"{function}{rest}"
    for unknown_name in re.findall(r"([A-Za-z_]\w*)\(", value):
        near = checks.nearest(unknown_name.lower(), FUNCTIONS, 0.75)
        if unknown_name not in FUNCTIONS and near:
            corrected = re.sub(rf"\b{unknown_name}\(", f"{near}(", value)
            yield f"{unknown_name} is not a function here", corrected


def _exponents(first: str, last: str) -> str | None:
    """The limits of a ``logspace`` from one number to another; None if they are no such numbers."""
    try:
        limits = float(first), float(last)
    except ValueError:
        return None
    if not all(0 < limit < math.inf for limit in limits):
        return None
    return ",".join(f"{math.log10(limit):.6g}" for limit in limits)
