"""The unfitted model: a logistic regression on standardised numbers."""

from dataclasses import dataclass

from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler


@dataclass(frozen=True)
class Hyperparameters:
    """What params.yaml says of the model; the higher the penalty, the plainer the model."""

    penalty: float
    max_iter: int


def build_model(_features: tuple[str, ...], hyperparameters: Hyperparameters, seed: int) -> Pipeline:
    """Build the model, not yet fitted; it predicts the probabilities of 0 and 1."""
    regression = LogisticRegression(
        C=1 / hyperparameters.penalty, max_iter=hyperparameters.max_iter, random_state=seed
    )
    return make_pipeline(SimpleImputer(), StandardScaler(), regression)
