"""How good a classifier is on rows it was not trained on."""

from seit.evaluation.accuracy import accuracy

__all__ = ["accuracy"]
