"""Queries of the store: SQL by DuckDB on its tables, and a table of scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import xarray as xr

from hybridcast.core.extras import extra
from hybridcast.core.types import MINUTE
from hybridcast.errors import InputError
from hybridcast.nightly.days import parse_dates
from hybridcast.nightly.store import CASE_TABLES, TABLES, WARNING_TABLES, rows_to_dataset
from hybridcast.verification import scores

VIEWS = ("nights", *TABLES, *(f"case_{name}" for name in CASE_TABLES), *WARNING_TABLES)


def query_store(
    store: str | Path, query: str, *, regions: Sequence[str] = (), since: str | None = None, until: str | None = None
) -> pd.DataFrame:
    """Run SQL on the store; each table of `hybridcast.nightly.store` is a view with the columns region and date too.

    Parameters
    ----------
    store
        Folder of the store.
    query
        SQL for DuckDB.
    regions
        Names of the regions that the views have; by default all.
    since, until
        First and last day that the views have; by default all days. Only files of these days are opened; a condition
        such as ``where date >= ...`` in `query` has the same effect.

    Returns
    -------
    DataFrame
        The result of the query.

    Raises
    ------
    InputError
        If the folder is not a store, or the query cannot be run.
    """
    with extra("nightly", "SQL on the nightly store"):
        import duckdb

    root = Path(store).expanduser()
    with duckdb.connect() as connection:
        condition = _where_clause(regions, since, until)
        existing = [name for name in VIEWS if next(root.glob(f"region=*/date=*/{name}.parquet"), None) is not None]
        if not existing:
            raise InputError(
                f"{root} holds no night", "a store is where 'hybridcast nightly' writes", "Name it by --store"
            )
        for name in existing:
            files = str(root / "region=*" / "date=*" / f"{name}.parquet").replace("'", "''")
            connection.execute(
                f"create view {name} as select * from read_parquet('{files}', hive_partitioning = true, "
                f"hive_types = {{'region': varchar, 'date': date}}){condition}"
            )
        try:
            return connection.execute(query).df()
        except duckdb.Error as error:
            raise InputError(f"{error}", "the query is SQL for DuckDB", f"Views are {', '.join(existing)}") from error


def compute_score_table(
    store: str | Path, *, regions: Sequence[str] = (), since: str | None = None, until: str | None = None
) -> pd.DataFrame:
    """Compute the scores of all days together, a row for each region, nowcaster and lead time.

    The columns are CSI and frequency bias at 0.1, 1 and 5 mm/h, FSS at 1 mm/h and 20 km, the mean absolute error, and
    the number of days and issue times. Arguments are those of `query_store`.
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
    statistics = {
        name: rows_to_dataset(
            query_store(store, text, regions=regions, since=since, until=until),
            ("region", "nowcaster", "lead_time", *TABLES[name]),
        )
        for name, text in tables.items()
    }
    days = "select region, count(*) as days from nights where done > 0 group by region"
    counted = query_store(store, days, regions=regions, since=since, until=until).set_index("region")["days"]
    return _compute_scores(statistics, counted)


def _compute_scores(statistics: dict[str, xr.Dataset], days: pd.Series) -> pd.DataFrame:
    """Return the scores as a table, from the statistics by name of their table and the number of days by region."""
    contingency, moments = statistics["contingency"], statistics["moments"]
    found = {"cases": moments["cases"]}
    for threshold in (0.1, 1.0, 5.0):
        selected = contingency.sel(threshold=threshold, drop=True)
        found[f"CSI {threshold:g}"] = scores.csi(selected)
        found[f"bias {threshold:g}"] = scores.frequency_bias(selected)
    found["FSS 20 km"] = scores.fractions_skill_score(statistics["fss"]).isel(scale=0, threshold=0, drop=True)
    found["MAE"] = scores.mean_absolute_error(moments)
    rows = xr.Dataset(found).drop_attrs().to_dataframe().reset_index()
    rows = rows[rows["cases"] > 0]
    rows["lead_time"] = (rows["lead_time"] / MINUTE).astype(int)
    rows["cases"] = rows["cases"].astype(int)
    rows.insert(1, "days", rows["region"].map(days))
    return rows.rename(columns={"lead_time": "lead (min)"})


def _where_clause(regions: Sequence[str], since: str | None, until: str | None) -> str:
    """Return the condition of the views, in SQL."""
    names = ", ".join("'" + region.replace("'", "''") + "'" for region in regions)
    conditions = [f"region in ({names})"] if names else []
    conditions += [f"date {sign} date '{parse_dates(day)[0]}'" for sign, day in ((">=", since), ("<=", until)) if day]
    return f" where {' and '.join(conditions)}" if conditions else ""
