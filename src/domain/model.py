"""The unfitted model: target-encoded zones, and a regressor of one of three families."""

from sklearn.base import RegressorMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, TargetEncoder

from domain.hyperparameters import Hyperparameters

# Zones are seen twice: as the mean duration of their trips, and as numbers (neighbours often have close ones).
ENCODED = ("pickup_zone", "dropoff_zone", "zone_pair")
ENCODER_FOLDS = 5
# Of random trees: more are hardly better, and each makes the model larger.
RANDOM_TREES = 100


def build_model(features: tuple[str, ...], hyperparameters: Hyperparameters, seed: int) -> Pipeline:
    """Build the model, not yet fitted.

    Parameters
    ----------
    features : tuple of str
        Names of the columns of the matrix that the model will be fitted on, in their order.
    hyperparameters : Hyperparameters
    seed : int
        Fixes the encoder's folds and the features that each split may use.

    Returns
    -------
    Pipeline
        Takes a float32 matrix of shape (n_samples, n_features); predicts minutes.
    """
    # Out of fold: a row's own duration never enters its own encoding.
    folds = KFold(ENCODER_FOLDS, shuffle=True, random_state=seed)
    encoded = [features.index(name) for name in ENCODED]
    numbers = [index for index, name in enumerate(features) if name != "zone_pair"]
    transformed = "passthrough" if hyperparameters.family == "boosted_trees" else fill_and_scale()
    columns = ColumnTransformer(
        [("encoded", TargetEncoder(cv=folds), encoded), ("numbers", transformed, numbers)],
    )
    return Pipeline([("columns", columns), ("regressor", build_regressor(hyperparameters, seed))])


def fill_and_scale() -> Pipeline:
    """Build the step for families that take no missing numbers; a number outside of training's range is cut to it."""
    return make_pipeline(SimpleImputer(strategy="median"), MinMaxScaler(clip=True))


def build_regressor(hyperparameters: Hyperparameters, seed: int) -> RegressorMixin:
    """Build the regressor of the family that the hyperparameters name."""
    if hyperparameters.family == "linear":
        return Ridge(alpha=hyperparameters.penalty)
    if hyperparameters.family == "random_trees":
        return ExtraTreesRegressor(
            n_estimators=RANDOM_TREES,
            max_leaf_nodes=hyperparameters.max_leaf_nodes,
            min_samples_leaf=hyperparameters.min_samples_leaf,
            max_features=hyperparameters.max_features,
            random_state=seed,
        )
    return HistGradientBoostingRegressor(
        learning_rate=hyperparameters.learning_rate,
        max_iter=hyperparameters.max_iter,
        max_leaf_nodes=hyperparameters.max_leaf_nodes,
        min_samples_leaf=hyperparameters.min_samples_leaf,
        max_features=hyperparameters.max_features,
        early_stopping=False,
        random_state=seed,
    )
