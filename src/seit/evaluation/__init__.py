"""How good a model is: small objects that yield (name, value); `base.py` is the contract."""

from seit.evaluation.accuracy import Accuracy, accuracy
from seit.evaluation.base import Evaluation
from seit.evaluation.precision import MeanPrecision, mean_average_precision

__all__ = ["Accuracy", "Evaluation", "MeanPrecision", "accuracy", "mean_average_precision"]
