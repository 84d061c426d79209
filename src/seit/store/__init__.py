"""The token data set on disk: written once, verified, opened in no time (paper, section 3.1).

`TokenWriter` makes one, `TokenDataset` reads it; the manifest is the only file with authority (FORMAT.md).
"""

from seit.store.dataset import TokenDataset
from seit.store.rows import RowTable
from seit.store.token_rows import TokenRows
from seit.store.writer import TokenWriter, is_finished

__all__ = ["RowTable", "TokenDataset", "TokenRows", "TokenWriter", "is_finished"]
