"""A notebook to go on by hand: look at a month's trips, and try a feature before it goes into features.py.

`make notebook` opens it in a browser; run as a script it computes every cell.
"""

# pylint: disable=import-outside-toplevel, reimported, pointless-statement, invalid-name, useless-return
# ruff: noqa: B018, E501
# A cell imports for the others, takes what they return by their names, and shows what stands in its last line.

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Trips by hand")


@app.cell
def _():
    from pathlib import Path

    import marimo as mo
    import numpy as np
    import pandas as pd
    import pyarrow.parquet as pq

    from domain.contract import CONTRACT, derive_columns
    from domain.features import compute_features
    from domain.slices import compute_slices

    return CONTRACT, Path, compute_features, compute_slices, derive_columns, mo, np, pd, pq


@app.cell
def _(Path, mo):
    months = {path.stem[-7:]: path for path in sorted(Path("data").glob("*.parquet"))}
    mo.stop(not months, mo.md("data/ holds no month; bring some with `make data MONTHS=...` or `make sample`."))
    month = mo.ui.dropdown(list(months), value=list(months)[-1], label="month")
    month
    return month, months


@app.cell
def _(CONTRACT, derive_columns, month, months, np, pd, pq):
    table = pq.read_table(months[month.value])
    spelled = {name.lower(): name for name in table.column_names}
    columns = {}
    for column in (one for one in CONTRACT["columns"] if not one.get("derived")):
        own = next(spelled[s.lower()] for s in column.get("spellings", [column["name"]]) if s.lower() in spelled)
        kind = "datetime64[us]" if column["type"] == "timestamp" else np.float64
        columns[column["name"]] = table[own].to_pandas().to_numpy(kind)
    trips = pd.DataFrame({**columns, **derive_columns(columns)})
    # What the contract leaves out of training, for its limits alone.
    for column in CONTRACT["columns"]:
        low, high = column.get("minimum", -np.inf), column.get("maximum", np.inf)
        if column["type"] == "number":
            trips = trips[trips[column["name"]].between(low, high) | trips[column["name"]].isna()]
    trips = trips.dropna(subset=["duration_minutes"]).reset_index(drop=True)
    return (trips,)


@app.cell
def _(mo, month, trips):
    mo.md(f"## {month.value}: {len(trips):,} trips that keep the contract's limits")
    return


@app.cell
def _(trips):
    trips.head(20)
    return


@app.cell
def _(mo):
    mo.md("## How long do they take? Share of the trips by minutes")
    return


@app.cell
def _(pd, trips):
    minutes = pd.cut(trips["duration_minutes"], range(0, 61, 5)).value_counts(normalize=True, sort=False)
    minutes.rename("share").round(4).reset_index()
    return (minutes,)


@app.cell
def _(mo):
    mo.md("""
    ## Try a feature

    Change the next cell. What it computes is held against the features that the model sees: how much of the
    duration's variance lies between twenty equal parts of each.
    """)
    return


@app.cell
def _(np, trips):
    # Is a trip on a working day, in the hours in which everybody drives?
    hours = trips["pickup_at"].dt.hour
    tried = (trips["pickup_at"].dt.day_of_week < 5) & (np.isin(hours, [7, 8, 9, 16, 17, 18]))
    return (tried,)


@app.cell
def _(compute_features, pd, tried, trips):
    def explain_share(values, target):
        """Compute the share of the target's variance that lies between twenty parts of some values."""
        parts = pd.qcut(values, 20, duplicates="drop") if values.nunique() > 20 else values.fillna(-1)
        means = target.groupby(parts, observed=True).transform("mean")
        return ((means - target.mean()) ** 2).mean() / target.var(ddof=0)

    features = compute_features({name: trips[name].to_numpy() for name in trips})
    candidates = {"(tried)": tried.astype(float), **{name: pd.Series(x) for name, x in features.items()}}
    found = {name: explain_share(x, trips["duration_minutes"]) for name, x in candidates.items()}
    shares = pd.Series(found).sort_values(ascending=False)
    shares.rename("share of the variance").round(4).reset_index()
    return (shares,)


@app.cell
def _(compute_slices, trips):
    boroughs = compute_slices({name: trips[name].to_numpy() for name in trips})["borough"]
    trips.groupby(boroughs)["duration_minutes"].agg(["size", "mean", "median"]).round(2).reset_index()
    return


if __name__ == "__main__":
    app.run()
