"""The model card: a version's report, in Markdown, for the person who reviews it.

It holds no hash of anything: the card is itself hashed, together with the model that it describes.
"""

import math
from collections.abc import Iterable
from typing import Any, NotRequired, TypedDict

from lifecycle.metric_names import is_lower_better
from lifecycle.views.markdown import format_table
from lifecycle.views.numbers import format_column, format_number, format_share

MOST_GROUPS = 20


class Facts(TypedDict):
    """What the card is written from: plain data, as the stages' JSON files hold them."""

    title: str
    # name, meaning, unit
    target: dict[str, str]
    # Metric -> value, low, high, baseline, and unit where it has one; the first metric is the headline.
    metrics: dict[str, dict[str, Any]]
    # The intervals' coverage.
    confidence: NotRequired[float]
    # fold, train_rows, test_rows, and the metrics by name
    cross_validation: list[dict[str, Any]]
    # slice, group, rows, error (the first metric), judged
    slices: list[dict[str, Any]]
    # Slice -> gap between its best and worst judged group.
    gaps: dict[str, dict[str, Any]]
    # feature, importance, spread
    importance: list[dict[str, Any]]
    # Month -> part ("train" or "test"), synthetic, rows, clean, left_out (reason -> rows)
    rows: dict[str, dict[str, Any]]
    # Of the training rows, where the model was fitted on a sample.
    fitted_rows: NotRequired[int]
    # The contract's columns, with their defaults.
    columns: list[dict[str, Any]]
    model: str
    hyperparameters: dict[str, Any]
    # Library -> version
    environment: dict[str, str]
    size_bytes: int
    caveats: list[str]
    # Name of a plot -> its path, relative to the card.
    plots: NotRequired[dict[str, str]]


def write_card(facts: Facts) -> str:
    """Write the model card.

    Parameters
    ----------
    facts : Facts
        ``cross_validation``, ``slices``, ``gaps``, ``importance`` and ``caveats`` may be empty.

    Returns
    -------
    str
        Markdown.
    """
    sections = [
        f"# Model card: {facts['title']}",
        write_headline(facts),
        *_write_target(facts),
        *_write_metrics(facts),
        *_write_cross_validation(facts),
        *_write_slices(facts),
        *_write_importance(facts),
        *_write_caveats(facts),
        *_write_data(facts),
        *_write_contract(facts),
        *_write_training(facts),
        *_write_reproduction(),
    ]
    return "\n\n".join(sections) + "\n"


def write_headline(facts: Facts) -> str:
    """Say in one sentence how the first metric stands against the baseline."""
    name, metric = next(iter(facts["metrics"].items()))
    test = {month: count for month, count in facts["rows"].items() if count["part"] == "test"}
    rows = format_number(sum(count["clean"] for count in test.values()))
    where, words = f"On the {rows} test rows of {_list_months(test)}", name.replace("_", " ")
    figures = _write_figures(name, metric)
    value = f"{figures['value']} {metric.get('unit', '')}".rstrip()
    interval = f"{_name_interval(facts)} {figures['low']} to {figures['high']}"
    return f"{where}, the model's {words} is **{value}** ({interval}), {_compare(name, metric)}."


def _compare(name: str, metric: dict[str, Any]) -> str:
    """Say how a metric stands against the baseline, as far as the interval can tell."""
    figures, gain = _write_figures(name, metric), _compute_gain(name, metric)
    if metric["low"] <= metric["baseline"] <= metric["high"]:
        return f"which these rows cannot tell from the baseline's {figures['baseline']}"
    share = ""
    # A share of the baseline makes sense of an error; a score has no zero to count from.
    if is_lower_better(name) and metric["baseline"] > 0:
        share = f" ({format_share(abs(gain) / metric['baseline'])})"
    word = "better" if gain > 0 else "**worse**"
    return f"{word} by {figures['gain'].lstrip('-')}{share} than the baseline's {figures['baseline']}"


def _compute_gain(name: str, metric: dict[str, Any]) -> float:
    """Compute how much better than the baseline the model is; negative when it is worse."""
    gain: float = metric["value"] - metric["baseline"]
    return -gain if is_lower_better(name) else gain


def _write_figures(name: str, metric: dict[str, Any]) -> dict[str, str]:
    """Write a metric's figures, all with the same decimals."""
    keys = ("value", "low", "high", "baseline")
    figures = format_column([*(metric[key] for key in keys), _compute_gain(name, metric)])
    return dict(zip((*keys, "gain"), figures, strict=True))


def _write_target(facts: Facts) -> list[str]:
    """Say what is predicted."""
    target = facts["target"]
    return [
        "## What it predicts",
        f"`{target['name']}`: {target['meaning']} (unit: {target['unit']}).",
    ]


def _write_metrics(facts: Facts) -> list[str]:
    """Compare every metric with the baseline's."""
    rows = []
    for name, metric in facts["metrics"].items():
        arrow = "↓" if is_lower_better(name) else "↑"
        figures = _write_figures(name, metric)
        rows.append(
            [
                f"{arrow} `{name}` {metric.get('unit', '')}".rstrip(),
                figures["value"],
                f"{figures['low']} to {figures['high']}",
                figures["baseline"],
                figures["gain"],
            ]
        )
    return [
        "## How well",
        format_table("lrrrr", ["metric", "model", _name_interval(facts), "baseline", "gain"], rows),
        "↓ lower is better, ↑ higher is better; a positive gain is better than the baseline. Intervals are "
        "bootstrapped over the test rows. The baseline is the trivial model: it ignores its input and "
        "predicts the mean of the training rows (a classifier: the shares of the classes).",
        *_show_plots(facts, "predicted", "residuals"),
    ]


def _write_cross_validation(facts: Facts) -> list[str]:
    """Show the first metric fold by fold."""
    folds, name = facts["cross_validation"], next(iter(facts["metrics"]))
    if not folds:
        return []
    values = format_column([fold[name] for fold in folds])
    rows = [
        [str(fold["fold"]), format_number(fold["train_rows"]), format_number(fold["test_rows"]), value]
        for fold, value in zip(folds, values, strict=True)
    ]
    return [
        "## Forward in time",
        "Each fold trains on the past and is tested on what came next, all within the training months; it "
        "shows how much the figure varies from one time to another.",
        format_table("lrrr", ["fold", "training rows", "test rows", f"`{name}`"], rows),
    ]


def _write_slices(facts: Facts) -> list[str]:
    """Name the largest gap, and list the worst groups first."""
    if not facts["slices"]:
        return []
    name = next(iter(facts["metrics"]))
    sign = -1 if is_lower_better(name) else 1
    # Groups that cannot be judged or measured come last.
    groups = sorted(
        facts["slices"],
        key=lambda row: (not row["judged"], math.isnan(row["error"]), sign * row["error"]),
    )
    shown = groups[:MOST_GROUPS]
    values = format_column([row["error"] for row in shown])
    rows = [
        [
            row["slice"],
            row["group"],
            format_number(row["rows"]),
            value,
            "" if row["judged"] else "too few rows",
        ]
        for row, value in zip(shown, values, strict=True)
    ]
    left = len(groups) - len(shown)
    return [
        "## Where it is worse",
        *_write_gaps(facts["gaps"]),
        format_table("llrrl", ["slice", "group", "test rows", f"`{name}`", ""], rows),
        *([f"{left} more groups are in the plots' data."] if left else []),
        *_show_plots(facts, "slices"),
    ]


def _write_gaps(gaps: dict[str, dict[str, Any]]) -> list[str]:
    """Name the gap of each slice, the largest in a sentence."""
    if not gaps:
        return ["No slice has two groups with enough rows to be compared."]
    ordered = sorted(gaps.items(), key=lambda item: -item[1]["gap"])
    (name, widest), values = ordered[0], format_column([gap["gap"] for _, gap in ordered])
    rows = [[key, value, gap["worst"], gap["best"]] for (key, gap), value in zip(ordered, values, strict=True)]
    ends = f"{widest['worst']} (worst) and {widest['best']} (best)"
    return [
        f"The largest gap is in **{name}**: {values[0]} between {ends}.",
        format_table("lrll", ["slice", "gap", "worst group", "best group"], rows),
    ]


def _write_importance(facts: Facts) -> list[str]:
    """List the features, the most important first, and say what importance is not."""
    ordered = sorted(facts["importance"], key=lambda row: -row["importance"])
    if not ordered:
        return []
    values = format_column([row[key] for key in ("importance", "spread") for row in ordered])
    rows = [
        [f"`{row['feature']}`", value, f"± {spread}"]
        for row, value, spread in zip(ordered, values[: len(ordered)], values[len(ordered) :], strict=True)
    ]
    return [
        "## What it leans on",
        f"How much worse `{next(iter(facts['metrics']))}` gets when a feature's column is shuffled, ± the "
        "standard deviation over shuffles. This says what the model leans on, not what causes the target; "
        "of two features that tell the same, each may look unimportant because the other stands in for it.",
        format_table("lrr", ["feature", "worse by", ""], rows),
        *_show_plots(facts, "importance"),
    ]


def _write_caveats(facts: Facts) -> list[str]:
    """List what a user has to know, synthetic months first."""
    synthetic = [month for month, count in facts["rows"].items() if count["synthetic"]]
    made = f"Synthetic data, made by a generator and not observed: {_list_months(synthetic)}."
    caveats = [made] if synthetic else []
    caveats += facts["caveats"]
    return ["## Caveats", "\n".join(f"- {caveat}" for caveat in caveats) or "The data contract names none."]


def _write_data(facts: Facts) -> list[str]:
    """List the months, and the rows left out by reason."""
    counts = facts["rows"]
    months = [
        [
            month,
            count["part"],
            *map(format_number, (count["rows"], count["clean"], count["rows"] - count["clean"])),
        ]
        for month, count in counts.items()
    ]
    left_out: dict[str, int] = {}
    for count in counts.values():
        for reason, rows in count["left_out"].items():
            left_out[reason] = left_out.get(reason, 0) + rows
    total = sum(count["rows"] for count in counts.values())
    reasons = [
        [reason, format_number(rows), format_share(rows / total)]
        for reason, rows in sorted(left_out.items(), key=lambda item: -item[1])
    ]
    return [
        "## Data",
        format_table("llrrr", ["month", "used to", "rows", "kept", "left out"], months),
        *_write_sample(facts),
        "Rows left out because they break the data contract:" if reasons else "Every row met the data contract.",
        *([format_table("lrr", ["reason", "rows", "of all"], reasons)] if reasons else []),
    ]


def _write_sample(facts: Facts) -> list[str]:
    """Say how many rows the model was fitted on, where that is not all of them."""
    rows = sum(count["clean"] for count in facts["rows"].values() if count["part"] == "train")
    fitted = facts.get("fitted_rows", rows)
    if fitted == rows:
        return []
    return [
        f"The model was fitted on a sample of {format_number(fitted)} of the {format_number(rows)} rows kept to "
        "train, spread evenly over them (`train.max_rows`)."
    ]


def _write_contract(facts: Facts) -> list[str]:
    """List what each column promises."""
    rows = [
        [
            f"`{column['name']}`",
            column["meaning"],
            column["unit"],
            column["known"],
            _write_range(column),
            "yes" if column["nullable"] else "no",
            format_share(column["max_broken_share"]),
        ]
        for column in facts["columns"]
    ]
    header = ["column", "meaning", "unit", "known at", "range", "null allowed", "broken rows allowed"]
    return [
        "## Data contract",
        "Features are made only of what is known at the start.",
        format_table("llllllr", header, rows),
    ]


def _write_range(column: dict[str, Any]) -> str:
    """Say which values a column may hold."""
    if column["values"] is not None:
        return ", ".join(column["values"])
    ends = [("from", column["minimum"]), ("to", column["maximum"])]
    return " ".join(f"{word} {end:g}" for word, end in ends if end is not None) or f"any {column['type']}"


def _write_training(facts: Facts) -> list[str]:
    """Say how the model was made."""
    parameters = [[f"`{name}`", f"`{value}`"] for name, value in facts["hyperparameters"].items()]
    versions = ", ".join(f"{library} {version}" for library, version in facts["environment"].items())
    return [
        "## How it was trained",
        f"```text\n{facts['model'].strip()}\n```",
        *([format_table("lr", ["hyperparameter", "value"], parameters)] if parameters else []),
        f"Converted to ONNX: {format_number(facts['size_bytes'] / 1e6)} MB. Made with {versions}.",
    ]


def _write_reproduction() -> list[str]:
    """Say how to get this model again."""
    return [
        "## Reproduce it",
        "At the commit that holds this card:",
        "```sh\nmake pipeline                # the metrics, and the gate's verdict\n"
        ".venv/bin/dvc repro --force  # train anew: the same inputs give the same bytes\n```",
    ]


def _show_plots(facts: Facts, *names: str) -> list[str]:
    """Show those of the plots that there are."""
    return [f"![{name}]({facts['plots'][name]})" for name in names if name in facts.get("plots", {})]


def _name_interval(facts: Facts) -> str:
    """Name the intervals by their coverage."""
    return f"{format_share(facts['confidence'])} interval" if "confidence" in facts else "interval"


def _list_months(months: Iterable[str]) -> str:
    """Write months as a list, or as a range where they are many."""
    names = sorted(months)
    return ", ".join(names) if len(names) < 4 else f"{names[0]} to {names[-1]}"
