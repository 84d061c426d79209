"""ViT-B on the ids of ImageNet-1k-5M, or of a sample of its rows: section 4.1, Table 2.

    seit train in1k-5m.tokens --out RUN --recipe token-in1k-5m

Paper: 78.6% top-1 from 7.5 GB (5,830,000 rows); 75.9% from a 60% sample of the rows, drawn at random (4.5 GB,
3,498,000 rows). Not run by us.

The paper gives no epochs here and Table B.1 no column, so everything is `token-in1k`'s; with an epoch over all
rows the 300 epochs make 4.5 times its steps. An epoch over images, in one view each, keeps its steps: --set
one_view=true, for a data set that holds the views of one image side by side.
"""

from seit.recipes import token_in1k
from seit.training.recipe import Recipe


def recipe() -> Recipe:
    """Returns the recipe."""
    return token_in1k.recipe()
