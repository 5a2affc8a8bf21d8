"""Functions shared by the table formats, which have one row for each station and time."""

from __future__ import annotations

import codecs
import csv
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from hybridcast.core.readers import read_bytes
from hybridcast.errors import InputWarning, ReadError
from hybridcast.stations.schema import station_reports
from hybridcast.stations.table_numbers import parse_numbers

#: The first bytes of a Parquet file.
PARQUET_MAGIC = b"PAR1"
#: Characters between columns.
SEPARATORS = (",", ";", "\t", "|")
#: Number of lines in which the header of a table is looked for.
_LINES_ABOVE = 40


def first_line(head: bytes, separator: str = ",") -> list[str]:
    """Return the fields of the first line of a CSV file."""
    line = head.removeprefix(codecs.BOM_UTF8).split(b"\n", 1)[0].decode("latin-1")
    return [field.strip().strip('"') for field in line.split(separator)]


class Header(NamedTuple):
    """Columns of a table, and where its rows begin."""

    names: list[str]
    """Names as spelled in the file."""
    separator: str = ""
    """Between the columns; empty for Parquet."""
    lines: int = 0
    """Number of lines up to and with the header."""


def find_header(head: bytes, is_header: Callable[[Sequence[str]], bool]) -> Header:
    """Return the header of a table: the first line that has its names, or else the first that is no comment.

    Titles, comments (also before the names themselves) and the line ``sep=;`` of spreadsheets may be above it.
    """
    lines = decode(head).split("\n")
    for number, line in enumerate(lines[:_LINES_ABOVE]):
        header = split_header(line.lstrip("# "))
        if is_header(header.names):
            return header._replace(lines=number + 1)
    first = _find_first_row(lines)
    return split_header(lines[first])._replace(lines=first + 1)


def _find_first_row(lines: Sequence[str]) -> int:
    """Return the first full line that has as many fields as most; titles and blocks above a table have others."""
    filled = [n for n, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")]
    fields = {n: split_fields(lines[n], find_separator(lines[n])) for n in filled[: 3 * _LINES_ABOVE]}
    counts = [len(found) for found in fields.values()]
    usual = max(set(counts), key=lambda count: (count > 1, counts.count(count)), default=0)
    return next((n for n, found in fields.items() if len(found) == usual and sum(map(bool, found)) > usual / 2), 0)


def find_separator(line: str) -> str:
    """Return the separator that makes the most fields of a line."""
    return max(SEPARATORS, key=lambda mark: len(split_fields(line, mark)))


def split_header(line: str) -> Header:
    """Return the names in the line of a header, whose separator is the one that makes the most names of it.

    Examples
    --------
    >>> split_header('station,time,"Rain, mm"').names
    ['station', 'time', 'Rain, mm']
    """
    separator = find_separator(line)
    names = split_fields(line, separator)
    return Header([name or f"column {number}" for number, name in enumerate(names, 1)], separator)


def split_fields(line: str, separator: str) -> list[str]:
    """Return the fields of a line, in which quoted ones may hold separators."""
    try:
        fields = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:  # of damaged lines, such as those with a field too long for it
        fields = line.split(separator)
    return [field.strip().strip('"').strip() for field in fields]


def read_columns(path: Path, header: Header, wanted: Mapping[str, str]) -> Any:
    """Return the rows of a table as texts, with the columns that `wanted` maps our names to.

    Headers that come again, as in tables joined to one, are skipped.
    """
    missing = [name for name in wanted.values() if name not in header.names]
    if missing:
        raise ReadError(path, f"has no column {', '.join(missing)}; it has {', '.join(header.names)}")
    text = read_text(path).split("\n", header.lines)[-1]
    rows = read_texts(text, header.names, list(wanted.values()), header.separator, path)
    first = rows.columns[0]
    again = rows[first] == first
    if again.any():
        again &= (rows == pd.Series({name: name for name in rows})).all(axis=1)
        rows = rows[~again].reset_index(drop=True)
    if rows.empty:
        raise ReadError(path, "holds no row")
    return pd.DataFrame({ours: rows[name] for ours, name in wanted.items()})


def convert_columns(rows: Any, units: Mapping[str, tuple[str, float, float]], path: Path) -> list[str]:
    """Convert columns of numbers in place, and return their new names.

    Parameters
    ----------
    rows
        Rows of texts.
    units
        Column of the file: our name, factor and offset to its units. Columns that the file lacks are left out.
    path
        The file, for messages.
    """
    found = [name for name in units if name in rows]
    for name in found:
        ours, scale, offset = units[name]
        rows[ours] = parse_numbers(rows[name], path, name) * scale + offset
    return [units[name][0] for name in found]


def read_csv(path: Path, columns: Sequence[str], types: Mapping[str, str], separator: str = ",") -> Any:
    """Read `columns` of a CSV file (plain, gzip or bzip2); raise `ReadError` if some are missing."""
    try:
        content = io.BytesIO(read_bytes(path))
        return pd.read_csv(
            content, sep=separator, skipinitialspace=True, usecols=list(columns), dtype=types, encoding_errors="replace"
        )
    except ReadError:
        raise
    except (ValueError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ReadError(path, f"damaged, or not the CSV it looks like ({error})") from error


def read_text(path: Path) -> str:
    """Return the text of a file, decoded by `decode`."""
    return decode(read_bytes(path))


def decode(content: bytes) -> str:
    """Return the text of a file or of its first bytes: UTF-16 or UTF-8 if it can be that, otherwise Windows-1252."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = content.decode("utf-16", errors="replace")
    else:
        try:
            text = codecs.getincrementaldecoder("utf-8-sig")().decode(content)  # the last character may be cut
        except UnicodeDecodeError:
            text = content.decode("cp1252", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_texts(text: str, names: Sequence[str], wanted: Sequence[str], separator: str, path: Path) -> Any:
    """Return the rows of a table without its header as texts, the columns `wanted` of `names`; without empty rows."""
    _refuse_doubled_names(names, wanted, path)
    given = {name: str(names.index(name)) for name in wanted}
    beyond = str(len(names))
    header = separator.join(map(str, range(len(names) + 1)))
    try:
        rows = pd.read_csv(
            io.StringIO(f"{header}\n{text}"),
            sep=separator,
            usecols=[*given.values(), beyond],
            index_col=False,
            dtype=str,
            keep_default_na=False,
            skipinitialspace=True,
        )
    except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ReadError(path, f"damaged, or not the table it looks like ({error})") from error
    rows = rows.fillna("").apply(lambda column: column.str.strip())
    long = rows.pop(beyond) != ""
    if long.any():
        raise ReadError(
            path,
            f"row {int(np.argmax(long)) + 1} below the header has more fields than the header ({len(names)}). Put "
            "semicolons between the columns if numbers have commas",
        )
    rows = rows.rename(columns={number: name for name, number in given.items()})
    return rows[(rows != "").any(axis=1)].reset_index(drop=True)


def _refuse_doubled_names(names: Sequence[str], wanted: Sequence[str], path: Path) -> None:
    """Raise `ReadError` if a column that is needed comes twice, so that nothing says which one is meant."""
    doubled = next((name for name in wanted if names.count(name) > 1), None)
    if doubled is not None:
        raise ReadError(
            path, f"has {names.count(doubled)} columns {doubled!r}. Rename or remove those that are not meant"
        )


def reports_from_rows(
    rows: Any,
    path: Path,
    *,
    interval: np.timedelta64,
    variables: Sequence[str],
    coords: Sequence[str],
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """Build station reports from rows with the columns station, time, `variables` and `coords`.

    A row that comes twice counts once. Of rows with the same station and time that differ, nothing says which is right:
    the rain is missing, and a warning counts them. The coordinates of a station are those of its last row.
    """
    if rows.empty:
        raise ReadError(path, "holds no row")
    rows = _settle_doubled(rows, variables[0], path)
    wide = rows.pivot(index="station", columns="time", values=list(variables))
    position = rows.groupby("station")[list(coords)].last()
    rain, *others = (wide[name].to_numpy(np.float32) for name in variables)
    return station_reports(
        rain,
        station=wide.index.to_numpy(),
        time=wide[variables[0]].columns.to_numpy(),
        interval=interval,
        coords={name: position[name].to_numpy() for name in coords},
        other_variables=dict(zip(variables[1:], others, strict=True)),
        attrs=attrs,
    )


def _settle_doubled(rows: Any, rain: str, path: Path) -> Any:
    """Return rows of which each station and time comes once."""
    key = ["station", "time"]
    rows = rows.drop_duplicates()
    doubled = rows.duplicated(key, keep=False)
    if not doubled.any():
        return rows
    groups = rows[doubled].groupby(key, sort=False)
    settled = groups.first().reset_index()  # the first value that is known
    differ = groups[rain].nunique().to_numpy() > 1
    settled.loc[differ, rain] = np.nan
    if differ.any():
        first = settled[differ].iloc[0]
        warnings.warn(
            InputWarning(
                f"{path}: {int(differ.sum())} reports come twice with different rain, the first at {first['station']}, "
                f"{first['time']}; they are taken as missing"
            ),
            stacklevel=2,
        )
    return pd.concat([rows[~doubled], settled], ignore_index=True)
