"""The model on the sample's months: reproducible, better than the mean, and longer for farther trips."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from domain.contract import CONTRACT, derive_columns
from domain.features import LONGEST_ROUTE_MILES, compute_features
from domain.hyperparameters import Hyperparameters
from domain.model import build_model
from domain.sample import generate_month
from domain.space import SPACE
from lifecycle.predictor import Predictor
from lifecycle.train import check_parity, convert_model, list_parity_rows

Rows = tuple[dict[str, np.ndarray], np.ndarray]

SEED = 3
QUICK = Hyperparameters(
    family="boosted_trees",
    learning_rate=0.2,
    max_iter=40,
    max_leaf_nodes=15,
    min_samples_leaf=20,
    max_features=0.5,
    penalty=1.0,
)


def read_month(month: str) -> Rows:
    """Generate a month and return its plausible rows: the contract's columns, and minutes."""
    table = generate_month(month, 6_000, SEED)
    columns = {}
    for column in CONTRACT["columns"]:
        for spelling in column.get("spellings", [column["name"]]):
            if spelling in table.column_names:
                columns[column["name"]] = table[spelling].to_numpy()
    minutes = derive_columns(columns)["duration_minutes"]
    kept = (minutes >= 1) & (minutes <= 60) & (columns["distance_miles"] <= LONGEST_ROUTE_MILES)
    return {name: values[kept] for name, values in columns.items()}, minutes[kept]


def stack_features(columns: dict[str, np.ndarray]) -> np.ndarray:
    """Compute the matrix of shape (n_samples, n_features) that the model takes."""
    return np.column_stack(list(compute_features(columns).values()))


def fit_model(rows: Rows) -> Pipeline:
    """Fit a quick model."""
    columns, minutes = rows
    model = build_model(tuple(compute_features(columns)), QUICK, seed=0)
    return model.fit(stack_features(columns), minutes)


@pytest.fixture(autouse=True, scope="module")
def fixture_one_thread() -> Iterator[None]:
    """Keep the trees to one thread: theirs spin, so on busy cores one is faster than many."""
    with threadpool_limits(1):
        yield


@pytest.fixture(name="train", scope="module")
def fixture_train() -> Rows:
    """The rows to fit on."""
    return read_month("2024-09")


@pytest.fixture(name="test", scope="module")
def fixture_test() -> Rows:
    """The rows of the month after."""
    return read_month("2024-10")


@pytest.fixture(name="model", scope="module")
def fixture_model(train: Rows) -> Pipeline:
    """A quick model."""
    return fit_model(train)


def test_model_fitted_twice_predicts_the_same(model: Pipeline, train: Rows, test: Rows) -> None:
    X = stack_features(test[0])

    np.testing.assert_array_equal(fit_model(train).predict(X), model.predict(X))


def test_model_leaves_less_than_half_of_the_variance(model: Pipeline, train: Rows, test: Rows) -> None:
    columns, minutes = test

    error = np.mean((model.predict(stack_features(columns)) - minutes) ** 2)

    assert error < 0.5 * np.mean((train[1].mean() - minutes) ** 2)


def test_sample_is_not_perfectly_predictable(model: Pipeline, test: Rows) -> None:
    columns, minutes = test

    assert np.mean((model.predict(stack_features(columns)) - minutes) ** 2) > 0.1 * minutes.var()


def test_farther_trips_take_longer(model: Pipeline, test: Rows) -> None:
    means = [
        model.predict(stack_features(test[0] | {"distance_miles": np.full(test[1].size, miles)})).mean()
        for miles in (1.0, 3.0, 6.0, 10.0)
    ]

    assert means == sorted(means)
    assert means[-1] > 2 * means[0]


def test_rush_hour_takes_longer_than_the_night(model: Pipeline, test: Rows) -> None:
    night, rush = (
        model.predict(stack_features(test[0] | {"pickup_at": np.full(test[1].size, np.datetime64(time, "us"))}))
        for time in ("2024-10-02T03:00", "2024-10-02T17:00")
    )

    assert rush.mean() > 1.2 * night.mean()


@pytest.mark.parametrize("family", SPACE["family"]["choices"])
def test_every_family_converts_and_leaves_less_than_half_of_the_variance(
    family: str, train: Rows, test: Rows
) -> None:
    features = tuple(compute_features(train[0]))
    model = build_model(features, replace(QUICK, family=family), seed=0)
    X, minutes = (np.concatenate([stack_features(rows[0]) for rows in (train, test)])), (train[1], test[1])
    past = X[: minutes[0].size].astype(np.float32), minutes[0].astype(np.float32)

    fitted = model.fit(*past)
    predictor = Predictor(convert_model(fitted, features))

    check_parity(fitted, predictor, list_parity_rows(past[0], seed=0), 0.001)
    error = np.mean((predictor.predict(X[minutes[0].size :].astype(np.float32)) - minutes[1]) ** 2)
    assert error < 0.5 * np.mean((train[1].mean() - minutes[1]) ** 2)


def test_unseen_zones_and_missing_values_are_predicted(model: Pipeline, test: Rows) -> None:
    row = {name: values[:1] for name, values in test[0].items()}
    odd = row | {"pickup_zone": np.array([999.0]), "trip_type": np.array([np.nan])}

    assert np.isfinite(model.predict(stack_features(odd))).all()
