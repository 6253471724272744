"""``bpexp bundle``: write a sweep to a zip file that can be checked without its store."""

from collections.abc import Sequence
from pathlib import Path

from bpexp.cli.commands import named_run, store_parser
from bpexp.export import bundle
from bpexp.fields.checks import ConfigError
from bpexp.tracking.output_directory import file_name


def main(arguments: Sequence[str]) -> None:
    """Write the bundle and print how to check it."""
    parser = store_parser(
        "bundle", "Write a sweep to a zip file, for verify and reproduce on another machine."
    )
    parser.add_argument(
        "sweep", metavar="SWEEP", help="a sweep or a run: id, start of an id, name, or latest"
    )
    parser.add_argument("-o", metavar="FILE", help="the zip file (default: SWEEP.zip)")
    parser.add_argument(
        "--without-data", action="store_true", help="leave out the data files of data=file"
    )
    options = parser.parse_args(arguments)
    named = named_run(options, options.sweep, is_sweep=True)
    target = Path(options.o or f"{file_name(named.run.short_id)}.zip")
    if target.suffix != ".zip":
        raise ConfigError(f"-o must end in .zip, got {str(target)!r}.")
    sentences = bundle.write(
        named.archive, named.experiment, named.run, target, data=not options.without_data
    )
    print("\n".join(sentences))
