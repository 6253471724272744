"""``bpexp report``: compare the combinations of settings of a sweep, with intervals and plots."""

from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from bpexp.analysis import stored_report, study_verdicts, tables, words
from bpexp.analysis.comparability import SeveralRankingsError
from bpexp.analysis.objective_choice import ObjectiveChoice
from bpexp.analysis.options import ReportOptions
from bpexp.analysis.page import MAX_ROWS
from bpexp.analysis.planning import NamedDifference
from bpexp.analysis.report import FIGURE_FORMATS, FORMATS, Report
from bpexp.cli.commands import Parser, existing_store, experiment_id, store_parser
from bpexp.cli.screen import console
from bpexp.fields.checks import ConfigError
from bpexp.render import text
from bpexp.runs.objective import objectives
from bpexp.tracking import lookup, output_directory
from bpexp.tracking.archive import Archive
from bpexp.tracking.factory import open_reader
from bpexp.tracking.output_directory import file_name
from bpexp.tracking.reading import StoredRun

PRINTED = 10
"""Maximum number of groups of the ranking that are printed; the files have more."""


def main(arguments: Sequence[str]) -> None:
    """Write the report, log it to its sweep, and print its answer; of a study write its page, too.

    A study whose rows cannot be ranked together has only its page.
    """
    options = _parser().parse_args(arguments)
    store = existing_store(options.uri)
    formats = _formats(options.format)
    reader = open_reader(store)
    parents = [
        lookup.find(reader, options.experiment, name, is_sweep=True).run for name in options.sweep
    ]
    chosen = _report_options(options)
    folder, out = _folder(options, parents), console()
    if parents:
        archive = Archive(reader, store, parents[0].experiment_id)
    else:
        archive = Archive(reader, store, experiment_id(reader, store, options.experiment))
    is_one_sweep = len(parents) == 1 and not chosen.only
    study = study_verdicts.page(archive, parents[0]) if is_one_sweep else {}
    try:
        if parents:
            report = stored_report.of_sweeps(archive, parents, chosen)
        else:
            report = stored_report.of_experiment(archive, options.experiment, chosen)
    except SeveralRankingsError as error:
        if not study:
            raise
        _write(study, folder)
        out.print(str(error), soft_wrap=True)
        _print_written(study, folder, out)
        return
    _write({**report.files(formats), **study}, folder)
    _print(report, out)
    _print_written([*map(_file_of, formats), *study], folder, out)
    not_logged = _why_not_logged(parents, chosen, archive)
    if not_logged:
        out.print(not_logged)
    elif len(parents) == 1:
        stored_report.keep(archive, parents[0], report)


def _parser() -> Parser:
    parser = store_parser(
        "report", "Compare the combinations of settings of a sweep, with intervals and plots."
    )
    parser.add_argument(
        "sweep",
        metavar="SWEEP",
        nargs="*",
        help="ids, starts of ids, names, or latest; none: the whole experiment; several: compare "
        "them",
    )
    parser.add_argument(
        "--measure",
        help=f"rank by {', '.join(objectives())} (default: the objective of the sweep)",
    )
    parser.add_argument(
        "--allow-test", action="store_true", help="let --measure be a metric of the test rows"
    )
    parser.add_argument(
        "--per",
        metavar="KEY",
        help="compare the best combination within each value of a setting, such as optimizer.name; "
        "on test rows, if there are any",
    )
    parser.add_argument(
        "--only",
        metavar="KEY=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="only the runs with these settings, such as data.name=xor",
    )
    parser.add_argument(
        "--detect",
        metavar="DIFFERENCE",
        help="say how many seeds detect a difference, such as 10%% or 0.02",
    )
    parser.add_argument(
        "--format",
        default="html",
        help=f"comma-separated: {', '.join(FORMATS)} (default: html); the last two are of figures",
    )
    parser.add_argument(
        "-o", metavar="FOLDER", help="output folder (default: outputs/reports/SWEEP)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed for the runs that plots show (default: 0)"
    )
    return parser


def _formats(typed: str) -> list[str]:
    """The formats of ``--format``. Raises ConfigError."""
    formats = typed.split(",")
    if not set(formats) <= set(FORMATS):
        raise ConfigError(f"--format must be of {', '.join(FORMATS)}, got {typed!r}.")
    return formats


def _report_options(options: Namespace) -> ReportOptions:
    """What the parsed arguments say about the report. Raises ConfigError."""
    if options.seed < 0:
        raise ConfigError(f"--seed must be a whole number of at least 0, got {options.seed}.")
    return ReportOptions(
        choice=ObjectiveChoice(options.measure, options.allow_test),
        seed=options.seed,
        per=options.per,
        only=_settings(options.only),
        detect=NamedDifference.parse(options.detect) if options.detect is not None else None,
    )


def _folder(options: Namespace, parents: Sequence[StoredRun]) -> Path:
    """The folder of the files: that of ``-o``, or one named after the sweeps or the experiment."""
    if options.o:
        return Path(options.o)
    names = [file_name(run.short_id) for run in parents] or [file_name(options.experiment)]
    return Path("outputs") / "reports" / "-".join([*names, *map(file_name, options.only)])


def _why_not_logged(parents: Sequence[StoredRun], chosen: ReportOptions, archive: Archive) -> str:
    """Why the report on a sweep is not logged to it, as a sentence.

    Empty if it is logged, and for the report on several sweeps, which belongs to none of them.
    """
    if len(parents) != 1:
        return ""
    if chosen.only:
        return "Not logged to the sweep, because it covers only a part of its runs."
    not_written = archive.why_not_written(parents[0])
    return f"Not logged to the sweep: {not_written}" if not_written else ""


def _print(report: Report, out: Console) -> None:
    """Print the answer, the best groups, and how each setting matters."""
    out.print(report.question)
    out.print(report.answer, style="bold")
    if report.best_per is not None:
        out.print(text.table(report.best_per.table))
    out.print(text.table(tables.short_ranking(report.findings, PRINTED)))
    groups = len(report.findings.summaries)
    if groups > PRINTED:
        out.print(f"{PRINTED} of {groups} groups; the report has {min(groups, MAX_ROWS)}")
    out.print(words.about_intervals(report.findings, is_short=True))
    for sentence in report.halving.sentences if report.halving is not None else ():
        out.print(sentence)
    for sentence in report.effect_sentences:
        out.print(sentence)


def _settings(texts: Sequence[str]) -> dict[str, str]:
    """The settings KEY=VALUE that were typed for ``--only``."""
    for typed in texts:
        if not typed.partition("=")[2]:
            raise ConfigError(f"--only must be KEY=VALUE, such as data.name=xor, got {typed!r}.")
    return {key: value for key, _, value in (typed.partition("=") for typed in texts)}


def _print_written(names: Iterable[str], folder: Path, out: Console) -> None:
    written = ", ".join(str(folder / name) for name in names)
    out.print(f"Written: {written}", soft_wrap=True)


def _write(files: Mapping[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        try:
            output_directory.create((folder / name).parent)
            (folder / name).write_bytes(content)
        except OSError as error:
            raise ConfigError(
                f"-o must be a folder that can be written, got {str(folder)!r}: {error.strerror}."
            ) from error


def _file_of(name: str) -> str:
    """The file with a format of the report, or the files of its figures."""
    return f"figures/*.{name}" if name in FIGURE_FORMATS else f"report.{name}"
