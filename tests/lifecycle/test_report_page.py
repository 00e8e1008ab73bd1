"""The report's page says the verdict first, and no text in it can leave its place."""

import re
from html import unescape
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from lifecycle.comparison.lock import write_mend
from lifecycle.views.markdown import escape_text
from lifecycle.views.report_page import describe_change, render_report

MARKDOWN = MarkdownIt("js-default", {"html": True, "linkify": False})
HOSTILE = [
    "",
    "   ",
    "\n\n# Heading\n\nText",
    "a\n===",
    "| a | b |\n| - | - |",
    "\\| \\",
    "</details><script>alert(1)</script>",
    "</code></td></tr></table><img src=x onerror=alert(1)>",
    "<!-- open",
    "&lt;b&gt; &#60;b&#62; &amp;",
    "`code` ``` ~~~",
    "```\n\n```mermaid\npie",
    "a\n```\n\n# Out of the fence\n",
    "**bold** __strong__ _em_ *em* ~~gone~~",
    "[link](https://evil.example) ![image](x) [note]: https://evil.example",
    "<https://evil.example> https://evil.example www.evil.example a@evil.example",
    "@everyone @org/team #1 GH-1",
    '"]\n    bar [1]\n%%{init: {"securityLevel": "loose"}}%%\nclick x "javascript:alert(1)"',
    "- item",
    "1. item",
    "12) item",
    "> quote",
    "> [!CAUTION]",
    "    indented",
    "$x$ $$y$$ :tada: [^1]",
    "\u202eright to left\u2066 \u2028 \x00 \x1b[31m \u200b",
    "x" * 5000,
    "<" * 5000,
]


GOLDEN = Path(__file__).parent / "golden" / "report.md"


@pytest.fixture(name="report")
def fixture_report():
    """Give each test a report of its own."""
    return make_refusal()


def make_refusal():
    """Make up a report of a change that was refused."""
    return {
        "outcome": "refuse",
        "model": None,
        "champion": "model@v1.0.0",
        "reasons": ["mean_absolute_error day Sunday 2.000 -> 3.000, 50 % worse; slice_tolerance is 5 %."],
        "notes": ["mean_absolute_error overall 2.000 -> 1.900, 5 % better."],
        "figures": {"champion": 2.0, "challenger": 1.9, "latency_ms": 0.0125, "size_mb": 1.5},
        "commit": "b" * 40,
        "base_commit": "a" * 40,
        "uncommitted": False,
        "same_test_rows": True,
        "confidence": 0.95,
        "tolerance": 0.01,
        "slice_tolerance": 0.05,
        "metrics": [
            make_metric("mean_absolute_error", True, 1.9, 2.0),
            make_metric("r2_score", False, 0.75, 0.7, baseline=-0.001),
            make_metric("max_error", True, 9.5, 9.0),
        ],
        "slices": [
            make_slice("Sunday", 3.0, 2.0, 0.5),
            make_slice("Monday", 1.5, 1.6, -0.0625),
            make_slice("holiday", 9.0, 1.0, 8.0, judged=False),
        ],
        "months": [make_month("2024-01", None, 90), make_month("2024-02", 100, 90), make_month("2024-03", 100, None)],
        "left_out": [{"reason": "size above 90", "rows": 12, "base_rows": 11}],
        "parameters": [{"name": "train.max_iter", "base": "60", "value": "600"}],
        "libraries": [{"name": "numpy", "base": "2.4.1", "value": None}],
        "stages": [{"stage": "train", "cause": "params", "what": ["train.max_iter"]}],
        "cross_validation": [{"fold": 1, "train_rows": 50, "test_rows": 25, "value": 2.1, "base": None}],
        "importance": [{"feature": "size", "value": 1.25, "spread": 0.1, "base": 1.0}],
        "drift": [{"name": "size", "distance": 0.31, "psi": 0.125, "missing": 0.5, "base_missing": 0.25}],
        "lock": {"state": "fresh", "reasons": [], "ran": ["train", "evaluate"]},
        "model_bytes": 1_500_000,
        "base_model_bytes": 1_000_000,
        **{f"{side}{what}_hash": f"{side}{what}" for side in ("base_", "") for what in ("model", "data", "lock")},
    }


def make_metric(name, lower_is_better, value, base, baseline=8.0):
    """Make up a metric."""
    interval = {"low": value - 0.05, "high": value + 0.05}
    return {
        "name": name,
        "lower_is_better": lower_is_better,
        "value": value,
        **interval,
        "baseline": baseline,
        "base": base,
        "difference": value - base,
    }


def make_slice(group, value, base, worse_by, judged=True):
    """Make up a slice's group."""
    return {
        "slice": "day",
        "group": group,
        "rows": 500,
        "judged": judged,
        "value": value,
        "base": base,
        "worse_by": worse_by,
    }


def make_month(month, rows, base_rows):
    """Make up a month's counts."""
    return {
        "month": month,
        "part": "train",
        "synthetic": month == "2024-02",
        "rows": rows,
        "clean": rows and rows - 6,
        "base_rows": base_rows,
        "base_clean": base_rows and base_rows - 5,
    }


def make_unchanged(report):
    """Turn a report into one of a change that reaches nothing."""
    same = [{**row, "base": row["value"], "difference": 0.0} for row in report["metrics"]]
    nothing = {key: [] for key in ("reasons", "notes", "parameters", "libraries", "stages")}
    months = [make_month("2024-02", 100, 100)]
    return {
        **report,
        **nothing,
        "outcome": "unchanged",
        "figures": {},
        "metrics": same,
        "months": months,
        "base_data_hash": report["data_hash"],
    }


def make_first(report):
    """Turn a report into one against a base without metrics."""
    metrics = [{**row, "base": None, "difference": None} for row in report["metrics"]]
    slices = [{**row, "base": None, "worse_by": None} for row in report["slices"]]
    return {**report, "outcome": "pass", "same_test_rows": None, "metrics": metrics, "slices": slices}


def plant(value, text):
    """Put a text in the place of every text of a report."""
    if isinstance(value, dict):
        return {key: plant(part, text) for key, part in value.items()}
    if isinstance(value, list):
        return [plant(part, text) for part in value]
    return text if isinstance(value, str) else value


def outline(page):
    """List what a page is made of, without its texts; raw HTML is shown whole."""
    tokens = [part for token in MARKDOWN.parse(page) for part in (token, *(token.children or []))]
    kept = [token for token in tokens if token.type not in ("text", "text_special")]
    return [
        (token.type, token.tag, token.level, token.content if token.type.startswith("html") else "") for token in kept
    ]


def find_chart(page):
    """Find the lines of the Mermaid chart."""
    return re.search(r"```mermaid\n(.*?)\n```", page, flags=re.S)[1].splitlines()


def find_row(page, name):
    """Find the table row that begins with a name."""
    return next(line for line in page.splitlines() if line.startswith("| ") and name in line.split("|")[1])


def test_page_is_the_one_that_was_looked_at():
    lock = {"state": "stale", "reasons": ["stage train: params (train.max_iter)"], "ran": ["train"]}

    page = render_report(make_refusal() | {"lock": lock})

    assert page == GOLDEN.read_text(encoding="utf-8"), f"look at the new page, and keep it in {GOLDEN}"


def test_first_line_of_a_refusal_says_why_and_names_both_commits(report):
    assert render_report(report).splitlines()[0] == (
        "## ❌ refuse: mean_absolute_error day Sunday 2.000 -> 3.000, 50 % worse; slice_tolerance is 5 %. "
        "(`aaaaaaa` → `bbbbbbb`)"
    )


def test_first_line_of_a_pass_tells_uncommitted_changes(report):
    page = render_report({**report, "outcome": "pass", "reasons": [], "uncommitted": True})
    assert page.splitlines()[0] == (
        "## ✅ pass: the challenger may replace the champion (`aaaaaaa` → `bbbbbbb` with uncommitted changes)"
    )
    assert "The uncommitted changes are in no commit yet" in page


def test_first_line_where_there_is_no_commit_yet(report):
    page = render_report({**make_first(report), "base_commit": None, "commit": None})
    assert page.splitlines()[0].endswith("(`–` → `–`)")
    assert "\nmake report\n" in page


def test_an_outcome_that_is_none_is_not_taken_for_a_verdict(report):
    assert render_report({**report, "outcome": "✅ pass"}).splitlines()[0].startswith("## ❔ ")


def test_report_of_an_unchanged_model_is_short(report):
    page = render_report(make_unchanged(report))
    assert page.splitlines()[0] == "## ⚪ unchanged: the model is the champion, byte for byte (`aaaaaaa` → `bbbbbbb`)"
    assert len(page.splitlines()) < 40
    assert not re.search("mermaid|CAUTION|NOTE|By slice|What was changed", page)
    assert "Metrics: as before" in page


def test_metrics_of_an_unchanged_model_are_shown_where_they_moved(report):
    unchanged = make_unchanged(report)
    assert "Metrics: as before" not in render_report({**unchanged, "metrics": report["metrics"]})


def test_caution_holds_what_failed_and_only_a_refusal_has_one(report):
    lines = render_report(report).splitlines()
    assert lines[2:4] == ["> [!CAUTION]", f"> - {report['reasons'][0]}"]
    assert lines[5:7] == ["> [!NOTE]", f"> - {report['notes'][0]}"]
    assert "CAUTION" not in render_report({**report, "outcome": "pass", "reasons": []})


def test_many_reasons_are_counted(report):
    page = render_report({**report, "reasons": [f"reason {number}" for number in range(10)]})
    assert "> - reason 5\n> - 4 more are in report.json." in page


@pytest.mark.parametrize(
    ("lower_is_better", "value", "base", "said"),
    [
        (True, 1.8, 2.0, "🟢 -0.200 (10 %) better"),
        (True, 2.2, 2.0, "🔴 +0.200 (10 %) worse"),
        (True, 2.01, 2.0, "+0.010 (0.5 %) worse"),
        (False, 0.8, 0.5, "🟢 +0.3000 better"),
        (False, 0.2, 0.5, "🔴 -0.3000 worse"),
        (False, 0.501, 0.5, "+0.0010 better"),
        (True, 2.0, 2.0, "same"),
        (True, 2.0, 0.0, "🔴 +2.000 worse"),
    ],
)
def test_change_has_the_metrics_direction_and_a_mark_beyond_the_tolerance(lower_is_better, value, base, said):
    assert describe_change(make_metric("x", lower_is_better, value, base), True, 0.01) == said


def test_rows_show_direction_interval_base_and_baseline(report):
    page = render_report(report)
    assert find_row(page, "mean_absolute_error") == (
        "| ↓ `mean_absolute_error` | 2.000 | **1.900** | 1.850 to 1.950 | 🟢 -0.100 (5 %) better | 8.000 |"
    )
    assert find_row(page, "r2_score").startswith("| ↑ `r2_score` | 0.7000 | **0.7500** |")


def test_first_metric_leads_and_then_what_got_worse(report):
    assert re.findall(r"^\| [↓↑] `(\w+)`", render_report(report), flags=re.M) == [
        "mean_absolute_error",
        "max_error",
        "r2_score",
    ]


def test_base_without_metrics_is_new_and_the_baseline_stands_in(report):
    page = render_report(make_first(report))
    assert "The base has no metrics" in page
    assert find_row(page, "mean_absolute_error") == (
        "| ↓ `mean_absolute_error` | **1.900** | 1.850 to 1.950 | 🟢 -6.100 (76.2 %) better | 8.000 |"
    )
    assert not any(line.strip().startswith("line") for line in find_chart(page))


def test_metric_that_the_base_does_not_have_is_new(report):
    report["metrics"][2] |= {"base": None, "difference": None}
    assert find_row(render_report(report), "max_error").endswith("| new | 8.000 |")


def test_figures_of_other_test_rows_are_not_judged(report):
    metrics = [{**row, "difference": None} for row in report["metrics"]]
    slices = [{**row, "worse_by": None} for row in report["slices"]]
    page = render_report({**report, "same_test_rows": False, "metrics": metrics, "slices": slices})
    assert "measured on different test rows" in page
    assert find_row(page, "mean_absolute_error").endswith("| other rows | 8.000 |")
    assert not re.search("For whom it is worse|worse by more than 5 %", page)


def test_figure_that_cannot_be_measured_is_a_dash(report):
    report["metrics"][1] |= {"value": None, "low": None, "high": None, "difference": None}
    report["slices"][1] |= {"value": None, "worse_by": None}
    page = render_report(report)
    assert find_row(page, "r2_score") == "| ↑ `r2_score` | 0.7000 | **–** | – to – | other rows | -0.0010 |"
    assert find_row(page, "Monday") == "| day: Monday | 500 | 1.600 | – |  |"


def test_slices_are_open_only_where_one_got_much_worse(report):
    page = render_report(report)
    opened, folded = page.split("<details><summary>By slice: 1 of 3 worse by more than 5 %</summary>")
    assert "| day: Sunday | 500 | 2.000 | 3.000 | 🔴 50 % worse |" in opened
    assert "Monday" not in opened.split("### For whom it is worse")[1]
    assert "| day: holiday | 500 | 1.000 | 9.000 | 800 % worse, too few rows to judge |" in folded
    better = render_report({**report, "slices": report["slices"][1:]})
    assert "For whom it is worse" not in better
    assert "By slice: none of 2 worse by more than 5 %" in better


def test_changes_name_parameters_libraries_data_months_and_stages(report):
    page = render_report(report)
    for row in (
        "| `train.max_iter` | `60` | `600` |",
        "| library `numpy` | `2.4.1` | – |",
        "| data | `base_da` | `data` |",
        "| months | 2024-01, 2024-02 | 2024-02, 2024-03 |",
        "| `train` | params | `train.max_iter` |",
    ):
        assert row in page.splitlines()


def test_details_hold_data_folds_importance_and_hashes(report):
    page = render_report(report)
    assert "<summary>Data: 200 rows in 2 months, 6 % left out, 1 months synthetic</summary>" in page
    for row in (
        "| 2024-01 | train | real | 90 | – | 85 | – |",
        "| size above 90 | 11 | 12 |",
        "| 1 | 50 | 25 | – | 2.100 |",
        "| `size` | 1.000 | 1.250 | ± 0.100 |",
        "| model | `base_model` | `model` |",
    ):
        assert row in page.splitlines()
    assert f"git checkout {'b' * 40}\nmake pipeline\nmake report BASE={'a' * 40}" in page


@pytest.mark.parametrize("state", ["stale", "different", "unavailable"])
def test_lock_that_is_not_true_is_told_first_with_the_command_that_mends_it(report, state):
    told = {**report, "lock": {"state": state, "reasons": ["stage train: params (train.max_iter)"], "ran": []}}

    page = render_report(told)

    assert re.search(rf"`dvc.lock` [a-z ]*{state}", page)
    assert "stage train" in page.partition("| metric")[0]
    assert f"```sh\n{write_mend(state, None)}\n```" in page.partition("| metric")[0]
    assert "dvc.lock" not in render_report(report).partition("| metric")[0]


def test_drift_names_what_moved_farthest(report):
    page = render_report(report)

    assert "Drift: at most 0.3100 standard deviations" in page
    assert find_row(page, "size") is not None
    assert "Drift" not in render_report({**report, "drift": []})


def test_stages_that_ran_are_named(report):
    assert "Stages that ran for this report: `train`, `evaluate`." in render_report(report)
    assert "none; all results" in render_report({**report, "lock": {**report["lock"], "ran": []}})


def test_chart_draws_the_first_metric_by_judged_slice(report):
    assert find_chart(render_report(report))[1:] == [
        "xychart-beta horizontal",
        '    title "mean_absolute_error: bars after, line before"',
        '    x-axis ["overall", "day Sunday", "day Monday"]',
        "    y-axis 0 --> 3.3",
        "    bar [1.9, 3, 1.5]",
        "    line [2, 2, 1.6]",
    ]


def test_report_without_slices_data_folds_and_importance_still_has_a_page(report):
    empty = {key: [] for key in ("slices", "months", "left_out", "stages", "cross_validation", "importance")}
    page = render_report({**report, **empty})
    assert '    x-axis ["overall"]' in page
    assert "<summary>" in page
    report["metrics"][0]["value"] = None
    assert "mermaid" not in render_report({**report, **empty})


def test_model_among_others_is_named_first_and_in_every_command(report):
    lock = {"state": "different", "reasons": [], "ran": []}

    page = render_report({**report, "model": "second", "lock": lock})

    assert page.startswith("## ❌ second: refuse: ")
    for command in (
        ".venv/bin/python -m lifecycle.models run second dvc repro --force && ",
        f"git checkout {'b' * 40}\nmake pipeline MODEL=second\nmake report MODEL=second BASE={'a' * 40}",
    ):
        assert f"```sh\n{command}" in page


@pytest.mark.parametrize("text", HOSTILE)
def test_name_of_a_model_leaves_no_command(report, text):
    page = render_report({**report, "model": text, "lock": {"state": "stale", "reasons": [], "ran": []}})

    assert re.search(r"^make pipeline( MODEL=[a-z0-9-]+)? && \.venv/bin/dvc push", page, re.MULTILINE)
    assert re.search(r"^make report( MODEL=[a-z0-9-]+)? BASE=a{40}$", page, re.MULTILINE)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("outcome", ["pass", "refuse", "unchanged", None])
def test_no_text_leaves_its_place(report, text, outcome):
    """The page of a hostile report is made of the same parts as that of a harmless one."""
    changes = {"outcome": outcome} if outcome else {}
    hostile = render_report({**plant(report, text), **changes})
    assert outline(hostile) == outline(render_report({**plant(report, "harmless"), **changes}))


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_leaves_its_label_in_the_chart(report, text):
    harmless = find_chart(render_report({**plant(report, "harmless"), "outcome": "pass"}))
    chart = find_chart(render_report({**plant(report, text), "outcome": "pass"}))
    quoted = r'"[^"`%#;{}\[\]<>\\\n]+"'
    assert re.fullmatch(rf"    title {quoted}", chart[2])
    assert re.fullmatch(rf"    x-axis \[{quoted}(, {quoted})*\]", chart[3])
    assert chart[:2] + chart[4:] == harmless[:2] + harmless[4:]


@pytest.mark.parametrize("text", HOSTILE)
def test_nobody_is_called_and_nothing_is_linked(report, text):
    page = render_report({**plant(report, text), "outcome": "refuse"})
    # GitHub leaves code alone; all else it searches for names, numbers of issues and addresses.
    html = re.sub(r"<code.*?</code>", "", MARKDOWN.render(page), flags=re.S)
    assert not re.search(
        r"<(?!/?(h2|h3|p|ul|li|blockquote|details|summary|table|thead|tbody|tr|t[hd]|strong|pre)\b)", html
    )
    assert not re.search(r"@\w|#\d|[\u202e\u2066\u200b\x00\x1b]", unescape(html))
    source = re.sub(r"```.*?```|`[^`\n]*`", "", page, flags=re.S)
    assert not re.search(r"https?:|www\.", source)


@pytest.mark.parametrize("text", [text.strip() for text in HOSTILE if text.strip().isprintable() and len(text) < 200])
def test_escaped_text_is_read_as_it_was_written(text):
    shown = unescape(re.sub(r"<[^>]*>", "", MARKDOWN.render(f"x {escape_text(text)}"))).replace("\u2060", "")
    assert " ".join(shown.split()) == (f"x {' '.join(text.split())}" if text else "x –")


@pytest.mark.parametrize(("text", "times"), [("harmless", 3000), ("<" * 5000, 100)])
def test_page_is_short_whatever_the_report_holds(report, text, times):
    lists = {key: plant(value, text) * times for key, value in report.items() if isinstance(value, list)}
    page = render_report({**report, **lists})
    assert len(page) < 60_000
    assert page.startswith("## ❌ refuse: ")
    assert "more rows are in report.json" in page or "parts are left out" in page
    assert page.count("```") % 2 == 0
    assert page.count("<details>") == page.count("</details>")


def test_long_table_says_how_many_rows_are_left_out(report):
    page = render_report({**report, "parameters": report["parameters"] * 100})
    # 100 parameters, a library, the data and the months.
    assert "_73 more rows are in report.json._" in page
    assert page.count("| `train.max_iter` | `60`") == 30
