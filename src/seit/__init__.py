"""seit: train vision models on token data sets of about 1% of the JPEGs' bytes.

The folders stand in the order of the data's path, and imports run one way along it:

    images -> tokenizers (image -> ids) -> codecs (ids <-> bytes) -> store (bytes <-> disk)
    -> loading (batches of ids) -> augment (ids -> augmented vectors) -> models (vectors -> logits)
    -> training -> evaluation -> report; verbs ties them together, cli prints.
"""

__version__ = "0.1.0"
