"""Functions shared by the table formats, which have one row for each station and time."""

from __future__ import annotations

import codecs
import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from hybridcast.core.readers import read_bytes
from hybridcast.errors import InputWarning, ReadError
from hybridcast.stations.schema import station_reports

#: The first bytes of a Parquet file.
PARQUET_MAGIC = b"PAR1"


def first_line(head: bytes, separator: str = ",") -> list[str]:
    """Return the fields of the first line of a CSV file."""
    line = head.removeprefix(codecs.BOM_UTF8).split(b"\n", 1)[0].decode("latin-1")
    return [field.strip().strip('"') for field in line.split(separator)]


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
    try:
        rows = pd.read_csv(
            io.StringIO(text),
            sep=separator,
            names=list(names),
            usecols=list(dict.fromkeys(wanted)),
            index_col=False,
            dtype=str,
            keep_default_na=False,
            skipinitialspace=True,
            on_bad_lines="error",
        )
    except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ReadError(path, f"damaged, or not the table it looks like ({error})") from error
    rows = rows.fillna("").apply(lambda column: column.str.strip())
    return rows[(rows != "").any(axis=1)].reset_index(drop=True)


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
