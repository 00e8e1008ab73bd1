"""The unfitted model: a logistic regression on standardised numbers."""

from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from domain.hyperparameters import Hyperparameters


def build_model(_features: tuple[str, ...], hyperparameters: Hyperparameters, seed: int) -> Pipeline:
    """Build the model, not yet fitted; it takes a float32 matrix and predicts the probabilities of 0 and 1."""
    strength = 1 / hyperparameters.penalty
    regression = LogisticRegression(C=strength, max_iter=hyperparameters.max_iter, random_state=seed)
    return make_pipeline(SimpleImputer(), StandardScaler(), regression)
