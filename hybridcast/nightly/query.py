"""Questions to the store: SQL by DuckDB on its tables, and a table of scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import xarray as xr

from hybridcast.errors import InputError
from hybridcast.nightly.days import dates_of
from hybridcast.nightly.store import OF_CASES, TABLES, placed
from hybridcast.verification import scores

VIEWS = ("nights", *TABLES, *(f"case_{name}" for name in OF_CASES))


def ask(
    store: str | Path, query: str, *, regions: Sequence[str] = (), since: str | None = None, until: str | None = None
) -> pd.DataFrame:
    """Run SQL on the store; each table (see `hybridcast.nightly.store`) is a view with the columns region and date.

    Parameters
    ----------
    store
        Its folder.
    query
        For DuckDB.
    regions, since, until
        What the views hold; by default everything. Only files of these days are opened, which a ``where date >= ...``
        in `query` does too.

    Raises
    ------
    InputError
        If there is no store, or the query cannot be run.
    """
    root = Path(store).expanduser()
    with duckdb.connect() as connection:
        chosen = _chosen(regions, since, until)
        there = [name for name in VIEWS if next(root.glob(f"region=*/date=*/{name}.parquet"), None) is not None]
        if not there:
            raise InputError(
                f"{root} holds no night", "a store is where 'hybridcast nightly' writes", "Name it by --store"
            )
        for name in there:
            files = str(root / "region=*" / "date=*" / f"{name}.parquet").replace("'", "''")
            connection.execute(
                f"create view {name} as select * from read_parquet('{files}', hive_partitioning = true, "
                f"hive_types = {{'region': varchar, 'date': date}}){chosen}"
            )
        try:
            return connection.execute(query).df()
        except duckdb.Error as error:
            raise InputError(f"{error}", "the query is SQL for DuckDB", f"Views are {', '.join(there)}") from error


def score_table(
    store: str | Path, *, regions: Sequence[str] = (), since: str | None = None, until: str | None = None
) -> pd.DataFrame:
    """Return scores of the sums of all days together, a row for each region, nowcaster and lead time.

    CSI and frequency bias at 0.1, 1 and 5 mm/h, FSS at 1 mm/h and 20 km, mean absolute error; with the days and the
    issue times they rest on.
    """
    keys = "region, nowcaster, lead_time"
    tables = {
        "moments": f"select {keys}, sum(count) as count, sum(absolute_error) as absolute_error, sum(cases) as cases "
        f"from moments where period = 0 group by {keys}",
        "contingency": f"select {keys}, threshold, sum(hits) as hits, sum(misses) as misses, sum(false_alarms) as "
        f"false_alarms from contingency where period = 0 group by {keys}, threshold",
        "fss": f"select {keys}, scale, threshold, sum(fraction_difference) as fraction_difference, "
        f"sum(fraction_squares) as fraction_squares from fss where period = 0 and threshold = 1 and scale = 20 "
        f"group by {keys}, scale, threshold",
    }
    found = {name: ask(store, text, regions=regions, since=since, until=until) for name, text in tables.items()}
    sums = {name: placed(rows, ("region", "nowcaster", "lead_time", *TABLES[name])) for name, rows in found.items()}
    days = "select region, count(*) as days from nights where done > 0 group by region"
    counted = ask(store, days, regions=regions, since=since, until=until).set_index("region")["days"]
    return _scored(sums, counted)


def _scored(sums: dict[str, xr.Dataset], days: pd.Series) -> pd.DataFrame:
    tables, moments = sums["contingency"], sums["moments"]
    found = {"cases": moments["cases"]}
    for level in (0.1, 1.0, 5.0):
        at = tables.sel(threshold=level, drop=True)
        found |= {f"CSI {level:g}": scores.csi(at), f"bias {level:g}": scores.frequency_bias(at)}
    found["FSS 20 km"] = scores.fractions_skill_score(sums["fss"]).isel(scale=0, threshold=0, drop=True)
    found["MAE"] = scores.mean_absolute_error(moments)
    rows = xr.Dataset(found).drop_attrs().to_dataframe().reset_index()
    rows = rows[rows["cases"] > 0]
    rows["lead_time"] = (rows["lead_time"] / np.timedelta64(1, "m")).astype(int)
    rows["cases"] = rows["cases"].astype(int)
    rows.insert(1, "days", rows["region"].map(days))
    return rows.rename(columns={"lead_time": "lead (min)"})


def _chosen(regions: Sequence[str], since: str | None, until: str | None) -> str:
    """Return the condition that a view has."""
    names = ", ".join("'" + region.replace("'", "''") + "'" for region in regions)
    conditions = [f"region in ({names})"] if names else []
    conditions += [f"date {sign} date '{dates_of(day)[0]}'" for sign, day in ((">=", since), ("<=", until)) if day]
    return f" where {' and '.join(conditions)}" if conditions else ""
