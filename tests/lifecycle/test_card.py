"""The model card says what a reviewer needs, and survives what is not there."""

from dataclasses import asdict

import pytest

from lifecycle.data.contract import Column
from lifecycle.views.card import write_card, write_headline


def count_rows(part, synthetic=False, **left_out):
    """Make up a month's counts."""
    reasons = {reason.replace("_", " "): rows for reason, rows in left_out.items()}
    clean = 10_000 - sum(left_out.values())
    return {"part": part, "synthetic": synthetic, "rows": 10_000, "clean": clean, "left_out": reasons}


COLUMNS = [
    Column("sold_at", "when it was sold", "timestamp", "local time", "start", 0.01),
    Column("size", "length | width", "number", "cm", "start", 0.02, nullable=True, minimum=0, maximum=90),
    Column("kind", "what it is", "text", "name", "start", 0.03, values=("apple", "pear")),
    Column("weight", "on the scales", "number", "kg", "end", 0.15, derived=True, minimum=0),
]


@pytest.fixture(name="facts")
def make_facts():
    """Make up the facts of a small model."""
    return {
        "title": "Weight of fruit",
        "target": {"name": "weight", "meaning": "on the scales", "unit": "kg"},
        "metrics": {
            "mean_absolute_error": {"value": 2.0, "low": 1.9, "high": 2.1, "baseline": 8.0, "unit": "kg"},
            "r2_score": {"value": 0.75, "low": 0.7, "high": 0.8, "baseline": -0.000002},
        },
        "confidence": 0.9,
        "cross_validation": [
            {"fold": 1, "train_rows": 1000, "test_rows": 1500, "mean_absolute_error": 2.25, "r2_score": 0.7}
        ],
        "slices": [
            {"slice": "day", "group": "Monday", "rows": 4000, "error": 1.5, "judged": True},
            {"slice": "day", "group": "Sunday", "rows": 3000, "error": 4.5, "judged": True},
            {"slice": "day", "group": "holiday", "rows": 3, "error": 9.5, "judged": False},
            {"slice": "kind", "group": "pear", "rows": 5000, "error": 2.5, "judged": True},
            {"slice": "kind", "group": "apple", "rows": 2000, "error": 1.0, "judged": True},
        ],
        "gaps": {
            "kind": {"gap": 1.5, "best": "apple", "worst": "pear"},
            "day": {"gap": 3.0, "best": "Monday", "worst": "Sunday"},
        },
        "importance": [
            {"feature": "kind", "importance": 0.5, "spread": 0.1},
            {"feature": "size", "importance": 3.0, "spread": 0.2},
        ],
        "rows": {
            "2024-01": count_rows("train", size_above_90=40, sold_at_missing=5),
            "2024-02": count_rows("test", size_above_90=60),
        },
        "columns": [asdict(column) for column in COLUMNS],
        "model": "Pipeline(...)",
        "hyperparameters": {"learning_rate": 0.05},
        "environment": {"python": "3.11", "numpy": "2.4.1"},
        "size_bytes": 1_234_567,
        "caveats": ["Scales are never wrong by more than 0.1 kg."],
    }


def test_headline_says_in_one_sentence_how_the_model_stands_against_the_baseline(facts):
    assert write_headline(facts) == (
        "On the 9,940 test rows of 2024-02, the model's mean absolute error is **2.000 kg** "
        "(90 % interval 1.900 to 2.100), better by 6.000 (75 %) than the baseline's 8.000."
    )
    assert write_headline(facts) in write_card(facts)


def test_sample_is_told_where_the_model_was_fitted_on_one(facts):
    whole = write_card(facts)
    sampled = write_card({**facts, "fitted_rows": 1234})

    assert "train.max_rows" not in whole
    assert "fitted on a sample of 1,234 of the " in sampled
    assert whole == write_card({**facts, "fitted_rows": facts["rows"]["2024-01"]["clean"]})


@pytest.mark.parametrize(
    ("name", "baseline", "said"),
    [
        ("mean_absolute_error", 1.0, "**worse** by 1.000 (100 %) than the baseline's 1.000"),
        ("mean_absolute_error", 2.05, "which these rows cannot tell from the baseline's 2.050"),
        ("accuracy_score", 1.0, "better by 1.000 than the baseline's 1.000"),
        ("accuracy_score", 3.0, "**worse** by 1.000 than the baseline's 3.000"),
    ],
)
def test_headline_is_honest_about_the_direction_and_what_cannot_be_told(facts, name, baseline, said):
    facts["metrics"] = {name: {"value": 2.0, "low": 1.9, "high": 2.1, "baseline": baseline}}
    del facts["confidence"]
    facts["cross_validation"] = []
    assert f"(interval 1.900 to 2.100), {said}." in write_card(facts)


def test_card_shows_each_metric_with_direction_interval_baseline_and_gain(facts):
    card = write_card(facts)
    assert "| ↓ `mean_absolute_error` kg | 2.000 | 1.900 to 2.100 | 8.000 | 6.000 |" in card
    assert "| ↑ `r2_score` | 0.7500 | 0.7000 to 0.8000 | 0.0000 | 0.7500 |" in card
    assert "| 1 | 1,000 | 1,500 | 2.250 |" in card


def test_card_names_the_largest_gap_and_lists_the_worst_groups_first(facts):
    card = write_card(facts)
    assert "The largest gap is in **day**: 3.000 between Sunday (worst) and Monday (best)." in card
    lines = [
        "| day | Sunday | 3,000 | 4.500 |",
        "| kind | pear |",
        "| kind | apple |",
        "| day | holiday | 3 | 9.500 |",
    ]
    places = [card.index(line) for line in lines]
    assert places == sorted(places)
    assert "9.500 | too few rows |" in card


def test_worst_group_of_a_score_is_the_lowest(facts):
    facts["metrics"] = {"r2_score": facts["metrics"]["r2_score"]}
    card = write_card(facts)
    assert card.index("| kind | apple |") < card.index("| day | Sunday | 3,000")


def test_card_says_how_many_groups_it_does_not_list(facts):
    facts["slices"] = facts["slices"] * 5
    assert "5 more groups are in the plots' data." in write_card(facts)


def test_card_sorts_features_and_says_that_importance_is_no_cause(facts):
    card = write_card(facts)
    assert card.index("| `size` | 3.000 | ± 0.200 |") < card.index("| `kind` | 0.500 | ± 0.100 |")
    assert "not what causes the target" in card


def test_card_counts_left_out_rows_by_reason(facts):
    card = write_card(facts)
    assert "| 2024-01 | train | 10,000 | 9,955 | 45 |" in card
    assert "| size above 90 | 100 | 0.5 % |" in card
    assert card.index("size above 90") < card.index("| sold at missing | 5 | 0.025 % |")


def test_card_holds_every_column_of_the_contract(facts):
    card = write_card(facts)
    assert "| `sold_at` | when it was sold | local time | start | any timestamp | no | 1 % |" in card
    assert "| `size` | length \\| width | cm | start | from 0 to 90 | yes | 2 % |" in card
    assert "| `kind` | what it is | name | start | apple, pear | no | 3 % |" in card
    assert "| `weight` | on the scales | kg | end | from 0 | no | 15 % |" in card


def test_card_says_how_the_model_was_made_and_can_be_made_again(facts):
    card = write_card(facts)
    for part in ("Pipeline(...)", "| `learning_rate` | `0.05` |", "1.235 MB", "numpy 2.4.1", "make pipeline"):
        assert part in card


def test_card_lists_the_caveats_and_says_what_is_synthetic(facts):
    assert "- Scales are never wrong" in write_card(facts)
    assert "Synthetic" not in write_card(facts)
    for month in ("2024-01", "2023-12", "2023-11", "2023-10"):
        facts["rows"][month] = count_rows("train", synthetic=True)
    assert "- Synthetic data, made by a generator and not observed: 2023-10 to 2024-01." in write_card(facts)


def test_card_shows_the_plots_that_there_are(facts):
    assert "![" not in write_card(facts)
    facts["plots"] = {"slices": "plots/slices.png"}
    assert "![slices](plots/slices.png)" in write_card(facts)


def test_card_does_without_what_is_empty(facts):
    facts |= {
        "cross_validation": [],
        "slices": [],
        "gaps": {},
        "importance": [],
        "caveats": [],
        "hyperparameters": {},
    }
    facts["rows"] = {"2024-01": count_rows("train"), "2024-02": count_rows("test")}
    card = write_card(facts)
    assert write_headline(facts) in card
    assert "Every row met the data contract." in card
    assert "The data contract names none." in card
    assert "Forward in time" not in card


def test_card_says_when_no_groups_can_be_compared(facts):
    facts |= {"gaps": {}, "slices": [{**facts["slices"][2], "error": float("nan")}]}
    assert "No slice has two groups with enough rows to be compared." in write_card(facts)
