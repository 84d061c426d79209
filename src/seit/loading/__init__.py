"""From a store to batches of ids, in an order that is a pure function of (seed, epoch, position)."""

from seit.loading.feed import Batch, Feed, RowFeed
from seit.loading.loader import batches, epoch_size, rows_of
from seit.loading.resident import Resident

__all__ = ["Batch", "Feed", "Resident", "RowFeed", "batches", "epoch_size", "rows_of"]
