"""The unfitted model: target-encoded zones and gradient-boosted trees."""

from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import TargetEncoder

from domain.hyperparameters import Hyperparameters

# Zones are seen twice: as the mean duration of their trips, and as numbers (neighbours often have close ones).
ENCODED = ("pickup_zone", "dropoff_zone", "zone_pair")
ENCODER_FOLDS = 5


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
    columns = ColumnTransformer([("encoded", TargetEncoder(cv=folds), encoded), ("numbers", "passthrough", numbers)])
    trees = HistGradientBoostingRegressor(
        learning_rate=hyperparameters.learning_rate,
        max_iter=hyperparameters.max_iter,
        max_leaf_nodes=hyperparameters.max_leaf_nodes,
        min_samples_leaf=hyperparameters.min_samples_leaf,
        max_features=hyperparameters.max_features,
        early_stopping=False,
        random_state=seed,
    )
    return Pipeline([("columns", columns), ("trees", trees)])
