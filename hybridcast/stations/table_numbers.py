"""Numbers of tables: decimal points or commas, and the codes of missing values and of traces.

- Missing are empty fields and the words and marks of `MISSING` (a hyphen is missing at MeteoSwiss, and unknown is never
  taken for dry); negative amounts become NaN where reports are built.
- `TRACES` stand for rain that is too little to be measured, and become 0.
- A row of nines (99.9, 999, 9999.9) is a code of missing values, not an amount: 99.9 mm in an hour and 999 mm in a day
  are beyond all but the records of rain.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hybridcast.core.types import Doubles
from hybridcast.errors import ReadError

MISSING = frozenset(
    {
        "",
        "-",
        "--",
        "---",
        "–",
        "—",
        ".",
        "*",
        "***",
        "?",
        "/",
        "//",
        "///",
        "x",
        "m",
        "mq",
        "nd",
        "n.d.",
        "na",
        "n.a.",
        "nan",
        "n/a",
    }
    | {"#n/a", "null", "none", "missing", "<na>"}
)
TRACES = frozenset({"t", "tr", "tr.", "trace"})


#: What to do about a text that is no number.
REMEDY = "Leave missing values empty, and write numbers without units and separators of thousands"


def parse_numbers(texts: Any, path: Path, column: str, remedy: str = REMEDY) -> Doubles:
    """Parse the numbers of a column; raise `ReadError` for a text that is neither a number nor a known code.

    Examples
    --------
    >>> parse_numbers(pd.Series(["1,5", "-", "T", "2"]), Path("gauges.csv"), "rain_mm").tolist()
    [1.5, nan, 0.0, 2.0]
    """
    if pd.api.types.is_numeric_dtype(texts) and not pd.api.types.is_bool_dtype(texts):
        return np.asarray(pd.to_numeric(texts).to_numpy(np.float64, na_value=np.nan))
    codes, unique = pd.factorize(texts.fillna("").astype(str).str.strip())
    given = pd.Series(unique, dtype=str)
    lower = given.str.lower()
    plain = lower.str.replace(",", ".", regex=False) if given.str.fullmatch(r"[-+]?\d*,\d+").any() else lower
    numbers = pd.to_numeric(plain.where(~lower.isin(MISSING)), errors="coerce").mask(lower.isin(TRACES), 0.0)
    odd = numbers.isna() & ~lower.isin(MISSING)
    if odd.any():
        raise ReadError(
            path,
            f"{given[odd].iloc[0]!r} in column {column} is no number ({int(odd.to_numpy()[codes].sum())} rows). "
            f"{remedy}",
        )
    return np.asarray(numbers.to_numpy(np.float64)[codes])


def parse_amounts(texts: Any, path: Path, column: str) -> Doubles:
    """Parse amounts of a service's file, in mm; infinite for rows of nines, so that they are counted as impossible.

    Examples
    --------
    >>> parse_amounts(pd.Series(["1.5", "", "99.9"]), Path("gauges.csv"), "RR1").tolist()
    [1.5, nan, inf]
    """
    values = parse_numbers(texts, path, column)
    return np.where(find_nines(values, 99.0), np.inf, values)


def find_nines(values: Doubles, lowest: float) -> NDArray[np.bool_]:
    """Return which values, from `lowest` on, consist of nines only.

    Examples
    --------
    >>> find_nines(np.array([9.9, 99.9, 99.8, 9999.0]), 99.0).tolist()
    [False, True, False, True]
    """
    codes = [float("9" * whole + "." + "9" * part) for whole in range(2, 7) for part in range(4)]
    return np.isin(np.round(values, 3), [code for code in codes if code >= lowest])
