"""How good a classifier is on rows it was not trained on."""

from seit.evaluation.accuracy import accuracy
from seit.evaluation.precision import mean_average_precision

__all__ = ["accuracy", "mean_average_precision"]
