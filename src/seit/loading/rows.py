"""What a trainer and an evaluation read: rows of ids or of pixels; `seit.store.row_sequence` is the contract."""

from seit.store.row_sequence import Asked, Rows

__all__ = ["Asked", "Rows"]
