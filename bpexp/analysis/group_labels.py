"""Which groups a plot shows, and their names in it."""

import textwrap
from collections.abc import Sequence

from bpexp.analysis.findings import Findings, Summary
from bpexp.analysis.groups import Group
from bpexp.render.axes import MAX_LINES, shortened

MAX_ROWS = 24
"""Maximum number of groups in a plot with a row for each."""
NAME_LENGTH = 36
"""Maximum number of characters on a line of a group's name in a plot."""


def summaries_as_lines(findings: Findings) -> list[Summary]:
    """The groups drawn as lines: all if they are few, otherwise the best ones and the worst."""
    return _best_and_worst(findings, MAX_LINES)


def summaries_as_rows(findings: Findings) -> list[Summary]:
    """The groups with a row of their own: all if they are few, or the best ones and the worst."""
    return _best_and_worst(findings, MAX_ROWS)


def labels_of_rows(findings: Findings) -> dict[str, str]:
    """Names of the groups on one line, by what varies between those with a row of their own."""
    drawn = [summary.group for summary in summaries_as_rows(findings)]
    names = _varying_names(findings, drawn)
    texts = [
        " ".join(f"{name}={group.settings[key]}" for key, name in names.items()) or group.name
        for group in drawn
    ]
    places = [place for place, _ in enumerate(drawn, start=1)]
    # Behind the best groups stands the worst of all.
    places[-1] = len(findings.summaries)
    short = shortened(texts, NAME_LENGTH, places)
    return {group.name: short[text] for group, text in zip(drawn, texts, strict=True)}


def labels_of_lines(findings: Findings) -> dict[str, str]:
    """Names of the groups by what varies between those drawn as lines, on one or more lines."""
    drawn = [summary.group for summary in summaries_as_lines(findings)]
    names = _varying_names(findings, drawn)
    if not names:
        return {group.name: shortened([group.name], NAME_LENGTH)[group.name] for group in drawn}
    parts = {
        key: shortened(
            [*dict.fromkeys(f"{name}={group.settings[key]}" for group in drawn)], NAME_LENGTH
        )
        for key, name in names.items()
    }
    return {
        group.name: textwrap.fill(
            " ".join(parts[key][f"{name}={group.settings[key]}"] for key, name in names.items()),
            NAME_LENGTH,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for group in drawn
    }


def _best_and_worst(findings: Findings, limit: int) -> list[Summary]:
    ranked = list(findings.summaries)
    return ranked if len(ranked) <= limit else [*ranked[: limit - 1], ranked[-1]]


def _varying_names(findings: Findings, drawn: Sequence[Group]) -> dict[str, str]:
    """Short names of the settings that vary between some groups, by key.

    The last part of a dotted key where it is unique; ``optimizer`` for ``optimizer.name``.
    """
    varying = findings.grouped.varying
    keys = [key for key in varying if len({group.settings[key] for group in drawn}) > 1]
    ends = [key.removesuffix(".name").rpartition(".")[2] for key in keys]
    return {key: end if ends.count(end) == 1 else key for key, end in zip(keys, ends, strict=True)}
