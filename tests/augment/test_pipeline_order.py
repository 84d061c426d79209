import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_rows import MemoryRows
from naive_augment import nearest_codes, one_hot_crop, swapped

from seit import recipes
from seit.augment import Draws, Normalise, Pipeline
from seit.augment.cutmix import CutMix, box
from seit.augment.flip import Flip
from seit.augment.noise import Noise
from seit.augment.normalise import NORMALISATIONS
from seit.augment.random_crop import RandomCrop
from seit.augment.requantise import Requantise
from seit.augment.resized_crop import ResizedCrop, resized_boxes
from seit.augment.swap import Swap, squares
from seit.augment.synonym import Synonym
from seit.errors import RecipeError
from seit.loading import batches

CODEBOOK = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
HALF = Normalise(*NORMALISATIONS["half"])
PIXELS = {"codebook": None, "normalise": HALF}

PAPER, RELEASED = (recipes.load(name).augment for name in ("token-in1k", "token-in1k-released"))


def _rows(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randint(0, 40, (count, 16, 16), generator=generator),
        torch.randint(0, 10, (count,), generator=generator),
    )


def _naive(ids: torch.Tensor, labels: torch.Tensor, draws: Draws) -> tuple[torch.Tensor, torch.Tensor]:
    """Fig. 3, one row at a time: Token-EDA, one-hot, RRC, codebook, CutMix, Emb-Noise; from the same draws."""
    words = draws.bits("synonym", 256)
    u_swap, u_crop, u_noise = (
        draws.uniform("swap", 66).numpy(),
        draws.uniform("resized_crop", 22),
        draws.uniform("noise", 1),
    )
    side, corners = squares(u_swap[:, 1], u_swap[:, 2:], 16, 16)
    boxes = resized_boxes(u_crop, (16, 16), (0.08, 1.0), (3 / 4, 4 / 3))
    vectors, targets = [], []
    for row in range(len(ids)):
        one = ids[row].clone()
        for cell in range(256):
            word = int(words[row, cell]) & (1 << 64) - 1
            if (word & 0xFFFFFF) / 2**24 < 0.25:
                y, x = divmod(cell, 16)
                one[y, x] = nearest_codes(CODEBOOK, int(one[y, x]), 5)[(word >> 40) * 5 >> 24]
        if u_swap[row, 0] < 0.25:
            first, second = corners[row].tolist()
            one = swapped(one, int(side[row]), tuple(first), tuple(second))
        vectors.append(one_hot_crop(one, CODEBOOK, tuple(boxes[row].tolist()), (14, 14)))
        target = torch.full((10,), 0.1 / 10)
        target[labels[row]] += 0.9
        targets.append(target)
    _, y, x, lam, *_ = draws.group_uniform("cutmix", 0, 3 + 128)
    top, bottom, left, right = box(lam, y, x, 14, 14)
    lam = 1 - (bottom - top) * (right - left) / 196
    mixed, blended = [], []
    for row in range(len(ids)):
        partner = row ^ 1
        one = vectors[row].clone()
        one[:, top:bottom, left:right] = vectors[partner][:, top:bottom, left:right]
        if u_noise[row] < 0.5:
            numbers = draws.rows(slice(row, row + 1)).normal("noise/values", 6 * 197)[0].double()
            noise = numbers[:6, None, None] + numbers[6:].view(14, 14, 6).movedim(-1, 0)
            one += noise * float(CODEBOOK.square().mean().sqrt())
        mixed.append(one)
        blended.append(lam * targets[row] + (1 - lam) * targets[partner])
    return torch.stack(mixed), torch.stack(blended)


def test_the_pipeline_is_fig_3_done_naively_with_one_hot_ids() -> None:
    ids, labels = _rows(6)
    draws = Draws(3, 1, torch.arange(6), 6)
    found = Pipeline(PAPER, (16, 16), (14, 14), 10, codebook=CODEBOOK)(ids, labels, CODEBOOK, draws)
    expected = _naive(ids, labels, draws)
    assert found[0].shape == (6, 6, 14, 14)
    assert (found[0].double() - expected[0]).abs().max() < 1e-5
    assert (found[1] - expected[1]).abs().max() < 1e-5


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(1, 10), min_size=1, max_size=6), st.booleans())
def test_any_split_of_a_batch_gives_the_same_vectors_and_targets(pairs: list[int], released: bool) -> None:
    count = 2 * sum(pairs)
    ids, labels = _rows(count)
    augment = Pipeline(RELEASED if released else PAPER, (16, 16), (14, 14), 10, codebook=CODEBOOK)
    whole = augment(ids, labels, CODEBOOK, Draws(3, 1, torch.arange(count), 20))
    at = 0
    for pair in pairs:
        part = slice(at, at + 2 * pair)
        found = augment(ids[part], labels[part], CODEBOOK, Draws(3, 1, torch.arange(count)[part], 20))
        assert torch.equal(found[0], whole[0][part])
        assert torch.equal(found[1], whole[1][part])
        at += 2 * pair


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_together_train_on_what_one_process_trains_on(ranks: int) -> None:
    augment = Pipeline(PAPER, (16, 16), (14, 14), 10, codebook=CODEBOOK)
    rows = MemoryRows(*(part.numpy() for part in _rows(42)), list("abcdefghij"))

    def rank_steps(rank: int, ranks: int) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        steps = []
        for positions, ids, labels in batches(rows, 12, 7, 3, rank=rank, ranks=ranks, drop_last=True):
            draws = Draws(7, 3, torch.from_numpy(positions), 12)
            vectors, targets = augment(torch.from_numpy(ids), torch.from_numpy(labels), CODEBOOK, draws)
            steps.append((torch.from_numpy(draws.positions), vectors, targets))
        return steps

    alone, parts = rank_steps(0, 1), [rank_steps(rank, ranks) for rank in range(ranks)]
    assert len(alone) == 3
    for step, (positions, *expected) in enumerate(alone):
        together = [torch.cat([part[step][i] for part in parts]) for i in range(3)]
        order = together[0].argsort()
        assert torch.equal(together[0][order], positions)
        for found, wanted in zip(together[1:], expected, strict=True):
            assert torch.equal(found[order], wanted)


def test_a_learned_table_takes_the_same_path_with_gradients() -> None:
    ids, labels = _rows(40)
    augment = Pipeline(PAPER, (16, 16), (14, 14), 10, codebook=CODEBOOK)
    draws = Draws(0, 0, torch.arange(40), 40)
    table = CODEBOOK.clone().requires_grad_()
    vectors, targets = augment(ids, labels, table, draws)
    fixed = augment(ids, labels, CODEBOOK, draws)
    assert torch.allclose(vectors, fixed[0], atol=1e-5)
    assert torch.equal(targets, fixed[1])
    vectors.square().sum().backward()
    assert table.grad is not None
    assert vectors.is_contiguous(memory_format=torch.channels_last)


def test_what_a_learned_table_becomes_does_not_change_the_augmentations() -> None:
    ids, labels = _rows(4)
    draws, table = Draws(0, 0, torch.arange(4), 4), CODEBOOK.clone()
    augment = Pipeline(PAPER, (16, 16), (14, 14), 10, codebook=table)
    table += 5  # as if trained on, before the first batch
    fresh = Pipeline(PAPER, (16, 16), (14, 14), 10, codebook=CODEBOOK)
    assert torch.equal(augment(ids, labels, table, draws)[0], fresh(ids, labels, table, draws)[0])


def test_ids_of_every_integer_type_and_soft_targets_are_taken() -> None:
    ids, labels = _rows(4)
    augment = Pipeline(PAPER, (16, 16), (14, 14), 10, codebook=CODEBOOK)
    draws = Draws(0, 0, torch.arange(4), 4)
    expected = augment(ids, labels, CODEBOOK, draws)
    for kind in (torch.int32, torch.int16, torch.uint16):
        assert torch.equal(augment(ids.to(kind), labels, CODEBOOK, draws)[0], expected[0])
    soft = torch.eye(10)[labels]
    assert torch.allclose(augment(ids, soft, CODEBOOK, draws)[1], expected[1], atol=1e-6)


def test_epochs_differ_and_repeat() -> None:
    ids, labels = _rows(4)
    augment = Pipeline(PAPER, (16, 16), (14, 14), 10, codebook=CODEBOOK)
    first, again, second = (
        augment(ids, labels, CODEBOOK, Draws(0, epoch, torch.arange(4), 4))[0] for epoch in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_the_pipeline_prints_itself_in_its_order() -> None:
    assert str(Pipeline(PAPER, (32, 32), (28, 28), 1000, codebook=torch.ones(391, 32) * 2)) == (
        "synonym(probability=0.25) -> swap(probability=0.25)"
        " -> resized_crop(scale=(0.08, 1), ratio=(0.75, 1.33), bicubic to 28x28)"
        " -> cutmix(probability=1, alpha=1, mixup=0, mixup_alpha=0.8)"
        " -> noise(probability=0.5, std=1, unit=rms, which is 2) -> smoothing(0.1)"
    )
    assert str(Pipeline(RELEASED, (32, 32), (28, 28), 1000, codebook=torch.ones(391, 32) * 2)) == (
        "synonym(probability=0.25, rows=(0, 0.25)) -> swap(probability=1, rows=(0.25, 0.5))"
        " -> resized_crop(scale=(0.08, 1), ratio=(0.75, 1.33), bicubic to 28x28)"
        " -> noise(probability=0.5, std=1, unit=raw, exact=True, which is 1)"
        " -> cutmix(probability=1, alpha=1, mixup=0, mixup_alpha=0.8) -> smoothing(0.1)"
    )


def test_stages_run_in_the_papers_order_whatever_order_a_recipe_names_them_in() -> None:
    given = {"grid": (16, 16), "size": (14, 14), "classes": 10, "codebook": CODEBOOK}
    turned = Pipeline((PAPER[3], PAPER[2], *PAPER[:2], PAPER[4]), **given)
    assert str(turned) == str(Pipeline(PAPER, **given))


def test_what_has_probability_0_is_left_out() -> None:
    augment = Pipeline((Synonym(0.0), Flip(0.0), CutMix(0.0), CutMix(0.0)), (16, 16), (14, 14), 10, normalise=HALF)
    assert str(augment) == "centre_crop(14x14 to 14x14) -> smoothing(0.1)"
    assert Pipeline((CutMix(0.0, mixup=0.5),), (16, 16), (14, 14), 10, normalise=HALF).on_vectors


def test_a_pixel_twin_shares_crop_mixing_and_smoothing() -> None:
    augment = Pipeline((Flip(), RandomCrop(), CutMix()), (32, 32), (28, 28), 10, normalise=HALF)
    pixels = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    vectors, targets = augment(pixels, torch.arange(4), None, Draws(0, 0, torch.arange(4), 4))
    assert vectors.shape == (4, 3, 28, 28)
    assert torch.allclose(targets.sum(1), torch.ones(4))


@pytest.mark.parametrize(
    ("augment", "settings", "message"),
    [
        ((), {"smoothing": -0.1}, "smoothing: a probability of -0.1"),
        ((Flip(),), {}, "flip: mirroring ids needs the data set's tokenizer"),
        ((Synonym(),), PIXELS, "synonym: is not for pixels; leave synonym out of augment"),
        ((Noise(),), PIXELS, "noise: is not for pixels; leave noise out of augment"),
        ((), {"codebook": None}, "augmentation: needs one of codebook and normalise"),
        ((), {"normalise": HALF}, "augmentation: needs one of codebook and normalise"),
        ((Requantise(),), PIXELS, "requantise: is not for pixels"),
        ((Swap(), Swap(0.5)), {}, "augment: there are two augmentations swap; leave one out"),
        ((ResizedCrop(), RandomCrop()), {}, "augment: there are two augmentations crop; leave one out"),
        ((Synonym(),), {"codebook": CODEBOOK[:1]}, "synonym: a codebook of one code has no synonyms"),
    ],
)
def test_wrong_augmentations_are_refused_in_one_sentence(augment: tuple, settings: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Pipeline(augment, (16, 16), (14, 14), 10, **{"codebook": CODEBOOK, **settings})


def test_ids_of_another_grid_are_refused() -> None:
    augment = Pipeline(PAPER, (16, 16), (14, 14), 10, codebook=CODEBOOK)
    with pytest.raises(RecipeError, match=r"inputs are torch.int64 \[2, 8, 8\]; give ids of 16x16"):
        augment(torch.zeros(2, 8, 8).long(), torch.zeros(2).long(), CODEBOOK, Draws(0, 0, torch.arange(2), 2))


def test_inputs_labels_and_positions_of_different_lengths_are_refused() -> None:
    ids, labels = _rows(4)
    with pytest.raises(RecipeError, match="augmentation: 4 inputs, 3 labels and 4 positions; give as many of each"):
        Pipeline(PAPER, (16, 16), (14, 14), 10, codebook=CODEBOOK)(
            ids, labels[:3], CODEBOOK, Draws(0, 0, torch.arange(4), 4)
        )


def test_a_crop_larger_than_the_grid_is_refused() -> None:
    with pytest.raises(RecipeError, match="a crop of 28x28 from a grid of 16x16"):
        Pipeline(PAPER, (16, 16), (28, 28), 10, codebook=CODEBOOK)
