"""A table in a text file, such as CSV, which may be compressed."""

import bz2
import codecs
import gzip
import io
import lzma
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype

from bpexp.data import data_file, plain_text
from bpexp.data.data_file import check_names
from bpexp.data.file_settings import FileConfig
from bpexp.data.plain_text import NotPlainError
from bpexp.fields.checks import ConfigError, brief
from bpexp.guards.memory_limit import content_limit

SUFFIXES = (".csv", ".tsv", ".txt", ".data")
"""Endings of text files, which may be compressed: .csv.gz, .csv.zip."""
COMPRESSED: Mapping[str, Callable[[Any], Any]] = {
    ".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open,
}  # fmt: skip
"""What opens a compressed text file, by the ending."""
SETTINGS = ("separator", "decimal", "header", "missing_values")
"""Settings that only text files have."""
EXACT_INTEGERS = 2**53
"""All integers up to here are values of float64."""
SMALL_TEXT = 2**20
"""Bytes up to which a text is read at once."""
_SAMPLE_BYTES = 2**20
"""The beginning of a text by which its number of lines is estimated."""
_BINARY_FORMATS = {
    rb"\x1f\x8b": "a .gz", rb"BZh[1-9]1AY&SY": "a .bz2", rb"\xfd7zXZ": "an .xz",
    rb"PK\x03\x04": "a .zip, .npz or .xlsx", rb"PAR1": "a .parquet", rb"\x93NUMPY": "an .npy",
    rb"\xd0\xcf\x11\xe0": "an .xls", rb"\x89HDF": "an HDF5", rb"SQLite format 3": "an SQLite",
}  # fmt: skip
"""The beginnings of files that are no text, and what they are."""
_WHOLE_NEGATIVE_ZERO = re.compile(rb"-0+(?![0-9.eE])")


@dataclass(frozen=True)
class TextReader:
    """Reads tables in text files.

    Attributes:
        config: Settings of the files.
        is_typed: Whether integers of a column must be integers in the table. Those of others can be
            float64.
    """

    config: FileConfig
    is_typed: Callable[[str], bool]

    def read(self, content: BinaryIO, name: str) -> pd.DataFrame:
        """Read a table.

        Args:
            content: The text, which can be set to any position.
            name: Name of the file, without the ending of a compressed one.

        Raises:
            ConfigError: The text is no table.
            Exception: Many types, of pandas.
        """
        config = self.config
        _check_not_binary(content)
        content = _in_utf8(content)
        _check_text(content)
        # pandas skips the byte order mark that Excel writes.
        separator = _separator(content, config, name)
        header = pd.read_csv(
            content, header=None, nrows=1, dtype=str, keep_default_na=False, sep=separator
        )
        names = [
            str(name) if str(name).strip() else f"Unnamed: {place}"
            for place, name in enumerate(header.iloc[0])
        ]
        if not config.header:
            names = [str(place) for place in range(len(names))]
        # pandas would rename the second of two equal names.
        check_names(names, config.path)
        data_file.check_size(_bytes_of_text(content, len(names)))
        if not config.missing_values and content.seek(0, io.SEEK_END) > SMALL_TEXT:
            with suppress(NotPlainError):
                return self._plain_rows(content, separator, names)
        markers = config.missing_values or ()
        content.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            try:
                # Without index_col=False pandas would use the first values of rows that are longer
                # than the header as row names.
                return _rows(
                    content, header=0 if config.header else None, names=names, index_col=False,
                    sep=separator, decimal=config.decimal,
                    na_values=[*markers, *(f" {marker}" for marker in markers)],
                    **_exact_floats(pd.__version__),
                )  # fmt: skip
            except pd.errors.ParserWarning as error:
                raise ConfigError("data.path must have rows no longer than its header.") from error

    def read_compressed(self, content: BinaryIO, name: str, suffix: str) -> pd.DataFrame:
        """Read a compressed file with one of the endings of ``COMPRESSED``; see ``read``."""
        with COMPRESSED[suffix](content) as packed:
            unpacked = _unpacked(packed)
        return self.read(unpacked, name)

    def read_zip(self, content: BinaryIO) -> pd.DataFrame:
        """Read a zip file, which must hold one text file; see ``read``."""
        with zipfile.ZipFile(content) as archive:
            names = [
                name
                for name in archive.namelist()
                if not name.endswith("/") and "__MACOSX" not in name
            ]
            if len(names) != 1 or Path(names[0]).suffix.lower() not in SUFFIXES:
                raise ConfigError(
                    f"data.path must be a zip file of one text file ({', '.join(SUFFIXES)}), got "
                    f"{', '.join(map(brief, names[:5])) or 'none'} in {self.config.path!r}."
                )
            with archive.open(names[0]) as packed:
                return self.read(_unpacked(packed), names[0])

    def _plain_rows(self, content: BinaryIO, separator: str, names: Sequence[str]) -> pd.DataFrame:
        """The rows of a text of numbers; see ``read``. Raises NotPlainError."""
        config = self.config
        if separator not in plain_text.SEPARATORS or separator == config.decimal:
            raise NotPlainError
        content.seek(0)
        if config.header:
            next(line for line in content if line.strip())
        form = plain_text.PlainText(separator, config.decimal, len(names))
        X, is_whole = form.read(content)
        frame: pd.DataFrame = pd.DataFrame(X, columns=list(names), copy=False)
        for place, column in enumerate(names):
            if not self.is_typed(column):
                continue
            if not (np.abs(X[:, place]) < EXACT_INTEGERS).all():
                raise NotPlainError
            if is_whole[place]:
                frame[column] = X[:, place].astype(np.int64)
        return frame


def _rows(content: BinaryIO, **form: Any) -> pd.DataFrame:
    """The rows of a text, with one type for all cells of a column.

    With ``low_memory``, pandas decides the types in chunks of rows. It then takes half the memory
    and less time. The whole text is read at once if that might give other values.

    Args:
        content: The text.
        form: Arguments of ``pandas.read_csv``.
    """
    if content.seek(0, io.SEEK_END) > SMALL_TEXT:
        content.seek(0)
        with warnings.catch_warnings(), suppress(pd.errors.DtypeWarning):
            # A column has numbers in one chunk and texts in another.
            warnings.simplefilter("error", pd.errors.DtypeWarning)
            frame: pd.DataFrame = pd.read_csv(content, low_memory=True, **form)
            if _have_one_type(frame) and not _has_whole_negative_zero(content):
                return frame
    content.seek(0)
    frame = pd.read_csv(content, low_memory=False, **form)
    return frame


def _have_one_type(frame: pd.DataFrame) -> bool:
    """Whether no column mixes texts with other values, or integers from 2**63 with other chunks.

    Such integers are unsigned in their chunk, which pandas joins with others as float64.
    """
    return all(
        infer_dtype(column, skipna=True) == "string"
        if column.dtype == object
        else column.dtype.kind != "f" or not column.max() >= 2**63
        for _, column in frame.items()
    )


def _unpacked(packed: IO[bytes]) -> BinaryIO:
    # Half of it, because the table is made while the text is in memory.
    limit = content_limit() // 2
    unpacked = io.BytesIO()
    while some := packed.read(_SAMPLE_BYTES):
        if not unpacked.tell():
            _check_no_zero_byte(some)
        unpacked.write(some)
        if unpacked.tell() > limit:
            raise data_file.too_large("more")
    unpacked.seek(0)
    return unpacked


def _check_not_binary(content: BinaryIO) -> None:
    """Refuse a file of another format, whose name has a wrong ending."""
    start = content.read(16)
    content.seek(0)
    for pattern, kind in _BINARY_FORMATS.items():
        if re.match(pattern, start):
            raise ConfigError(
                f"data.path must be text, got a file that begins like {kind} file; give its name "
                "the right ending, or save the table as CSV."
            )


def _check_text(content: BinaryIO) -> None:
    """Refuse what is too large, or is no text, before a library reads all of it.

    Files with holes, such as images of disks, have zero bytes there.
    """
    data_file.check_size(content.seek(0, io.SEEK_END))
    content.seek(0)
    while some := content.read(_SAMPLE_BYTES):
        _check_no_zero_byte(some)
    content.seek(0)


def _check_no_zero_byte(some: bytes) -> None:
    is_utf16 = some.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if b"\0" in some and not is_utf16:
        raise ConfigError(
            "data.path must be text, got a file with zero bytes; if it is UTF-16 without a byte "
            "order mark, convert it with: iconv -f utf-16le -t utf-8 FILE > NEW"
        )


def _separator(content: BinaryIO, config: FileConfig, name: str) -> str:
    """The given separator, or the first of , ; tab and white space that the first line has.

    A comma comes last where it is the decimal mark.
    """
    line = next((line for line in content if line.strip()), b"")
    content.seek(0)
    if config.separator is not None:
        return r"\s+" if config.separator == " " else config.separator
    if Path(name).suffix.lower() == ".tsv":
        return "\t"
    line = re.sub(rb'"[^"]*"', b'""', line.strip())
    for separator in (",", ";", "\t") if config.decimal == "." else (";", "\t", ","):
        if separator.encode() in line:
            return separator
    return r"\s+" if len(line.split()) > 1 else ","


def _has_whole_negative_zero(content: BinaryIO) -> bool:
    """Whether a text may hold -0 without a decimal point.

    It is the integer 0 in a chunk of integers, and -0.0 in a column of other numbers.
    """
    content.seek(0)
    while some := content.read(2**20):
        if _WHOLE_NEGATIVE_ZERO.search(some + content.readline()):
            return True
    return False


def _bytes_of_text(content: BinaryIO, n_columns: int) -> int:
    """About the memory that a text and its table take, judged by the length of its first lines."""
    content.seek(0)
    sample = content.read(_SAMPLE_BYTES)
    n_lines = max(1, sample.count(b"\n"))
    size = content.seek(0, io.SEEK_END)
    content.seek(0)
    return size + 8 * n_columns * (size * n_lines // max(1, len(sample)))


def _in_utf8(content: BinaryIO) -> BinaryIO:
    """The content of a text file; one in UTF-16, which Excel writes too, is converted."""
    mark = content.read(2)
    content.seek(0)
    if mark not in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return content
    data_file.check_size(content.seek(0, io.SEEK_END))
    content.seek(0)
    return io.BytesIO(_unpacked(content).read().decode("utf-16").encode())


def _exact_floats(version: str) -> dict[str, Any]:
    """Arguments for which pandas reads a decimal as the nearest double.

    It does so by default since 3.1, which deprecates the argument.
    """
    major, minor = (int(part) for part in version.split(".")[:2])
    return {} if (major, minor) >= (3, 1) else {"float_precision": "round_trip"}
