import pytest
import torch
from scipy import stats

from seit.augment import Draws, Setting
from seit.augment.cutmix import CutMix, beta, box
from seit.augment.noise import Noise
from seit.errors import RecipeError

SETTING = Setting((12, 9), (12, 9), (12, 9), codebook=torch.full((3, 4), 2.0))


def _batch(rows: int, classes: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    vectors = torch.randn(rows, 4, 12, 9, generator=generator).contiguous(memory_format=torch.channels_last)
    return vectors, torch.eye(classes)[torch.randint(0, classes, (rows,), generator=generator)]


def test_cutmix_pastes_the_partners_box_and_its_share_of_the_target() -> None:
    seen = 0
    for step in range(20):
        draws = Draws(0, 0, torch.arange(8) + 8 * step, 8)
        vectors, targets = _batch(8)
        out, mixed = CutMix()(vectors.clone(), targets.clone(), draws, SETTING)
        for row in range(8):
            partner = row + 1 if row % 2 == 0 else row - 1
            pasted = (out[row] != vectors[row]).all(0)  # [12, 9]; normal numbers never agree by chance
            lam = 1 - float(pasted.float().mean())
            assert torch.equal(out[row], torch.where(pasted, vectors[partner], vectors[row]))
            assert (mixed[row] - (lam * targets[row] + (1 - lam) * targets[partner])).abs().max() < 1e-6
            ys, xs = pasted.any(1).nonzero()[:, 0], pasted.any(0).nonzero()[:, 0]
            assert int(pasted.sum()) == len(ys) * len(xs)  # one rectangle
            seen += bool(pasted.any())
    assert seen > 100
    assert torch.allclose(mixed.sum(1), torch.ones(8))


def test_mixup_blends_rows_and_targets_by_the_same_share() -> None:
    vectors, targets = _batch(6)
    draws = Draws(0, 0, torch.arange(6), 6)
    out, mixed = CutMix(0.0, mixup=1.0)(vectors.clone(), targets.clone(), draws, SETTING)
    lam = float(((out[0] - vectors[1]) / (vectors[0] - vectors[1])).median())
    assert 0 < lam < 1
    for row in range(6):
        partner = row ^ 1
        assert (out[row] - (lam * vectors[row] + (1 - lam) * vectors[partner])).abs().max() < 1e-5
        assert (mixed[row] - (lam * targets[row] + (1 - lam) * targets[partner])).abs().max() < 1e-5


def test_cutmix_on_two_ranks_gives_what_one_process_gives() -> None:
    vectors, targets = _batch(12)
    whole = CutMix()(vectors.clone(), targets.clone(), Draws(1, 0, torch.arange(12), 12), SETTING)
    for part in (slice(0, 4), slice(4, 12), torch.tensor([2, 3, 8, 9])):
        positions = torch.arange(12)[part]
        found = CutMix()(vectors[part].clone(), targets[part].clone(), Draws(1, 0, positions, 12), SETTING)
        assert torch.equal(found[0], whole[0][part])
        assert torch.equal(found[1], whole[1][part])


def _pasted(mix: CutMix, rows: int, batch: int) -> torch.Tensor:
    """Returns where the partner's cells were pasted into each row: bool [rows, 12, 9]."""
    vectors = torch.arange(float(rows)).view(-1, 1, 1, 1).expand(-1, 1, 12, 9).clone()
    out, _ = mix(vectors.clone(), torch.zeros(rows, 2), Draws(4, 0, torch.arange(rows), batch), SETTING)
    return (out != vectors)[:, 0]


def test_a_step_draws_once_for_each_128_rows_as_the_released_codes_processes_do() -> None:
    pasted = _pasted(CutMix(), 1024, 1024)
    groups = pasted.unflatten(0, (8, 128))
    assert bool((groups == groups[:, :1]).all())
    assert len(groups[:, 0].flatten(1).unique(dim=0)) >= 7  # a box may be empty twice
    # The share of what a step pastes spreads as the mean of eight draws does, not as one.
    shares = _pasted(CutMix(), 1024 * 60, 1024).float().mean((1, 2)).view(60, 1024).mean(1)
    alone = _pasted(CutMix(), 128 * 400, 128).float().mean((1, 2)).view(400, 128)[:, 0]
    assert float(shares.std()) == pytest.approx(float(alone.std()) / 8**0.5, rel=0.3)


def test_groups_end_with_the_batch_and_any_even_split_of_them_gives_the_same() -> None:
    vectors, targets = _batch(600)
    whole = CutMix(0.5, mixup=0.5)(vectors.clone(), targets.clone(), Draws(1, 0, torch.arange(600), 300), SETTING)
    parts = [torch.arange(600)[rank * 2 :: 6] for rank in range(3)]
    parts = [torch.stack((part, part + 1), 1).flatten() for part in parts]  # three ranks take every third pair
    for part in [*parts, *torch.arange(600).split(50)]:
        draws = Draws(1, 0, part, 300)
        found = CutMix(0.5, mixup=0.5)(vectors[part].clone(), targets[part].clone(), draws, SETTING)
        assert torch.equal(found[0], whole[0][part])
        assert torch.equal(found[1], whole[1][part])


@pytest.mark.parametrize("batch", [5, 6])
def test_the_last_row_of_an_odd_batch_is_left_alone(batch: int) -> None:
    vectors, targets = _batch(5)
    for step in (0, 1):
        positions = torch.arange(5) + step * batch
        out, mixed = CutMix()(vectors.clone(), targets.clone(), Draws(1, 0, positions, batch), SETTING)
        assert torch.equal(out[4], vectors[4])
        assert torch.equal(mixed[4], targets[4])
        assert not torch.equal(mixed[:4], targets[:4])


@pytest.mark.parametrize("positions", [[0, 2, 1, 3], [1, 2], [0, 2]])
def test_partners_that_are_not_together_are_refused(positions: list[int]) -> None:
    vectors, targets = _batch(len(positions))
    with pytest.raises(RecipeError, match="split a batch over ranks or accumulation steps at even places only"):
        CutMix()(vectors, targets, Draws(1, 0, torch.tensor(positions), 4), SETTING)


def test_a_group_is_cut_blended_or_left_with_the_given_probabilities() -> None:
    counts = [0, 0, 0]
    mix = CutMix(0.25, mixup=0.5)
    for step in range(600):
        vectors, targets = torch.tensor([[0.0], [1.0]])[:, :, None, None].expand(2, 1, 8, 8).clone(), torch.eye(2)
        out, _ = mix(vectors, targets, Draws(0, 0, torch.arange(2) + 2 * step, 2), SETTING)
        values = out[0].unique()
        counts[0 if len(values) == 2 or float(values[0]) == 1 else 1 if 0 < float(values[0]) < 1 else 2] += 1
    assert abs(counts[1] / 600 - 0.5) < 0.07
    assert 0.1 < counts[0] / 600 < 0.3  # an eighth or so of the boxes of an 8x8 grid is empty


def test_beta_numbers_have_betas_distribution() -> None:
    u = Draws(0, 0, torch.arange(1500), 8).uniform("b", 128).tolist()
    for alpha in (0.2, 0.8, 1.0):
        found = [beta(alpha, row) for row in u]
        assert stats.kstest(found, stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_box_is_the_papers_square_root_share_clipped_at_the_border() -> None:
    assert box(0.75, 0.5, 0.5, 28, 28) == (7, 21, 7, 21)  # sides 28 * sqrt(0.25) = 14
    assert box(0.75, 0.0, 0.99, 28, 28) == (0, 7, 20, 28)
    assert box(1.0, 0.5, 0.5, 28, 28) == (14, 14, 14, 14)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((0.7, 1.0, 0.5, 1.0), "CutMix with 0.7 and Mixup with 0.5 is more than 1"),
        ((1.2, 1.0, 0.0, 1.0), "cutmix.probability: a probability of 1.2"),
        ((1.0, 2.0, 0.0, 1.0), r"cutmix.alpha: an alpha of 2.0; choose a value in \(0, 1\]"),
    ],
)
def test_wrong_mixing_is_refused_in_one_sentence(settings: tuple[float, ...], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        CutMix(*settings)


def test_noise_is_one_number_a_channel_plus_one_a_cell_and_channel() -> None:
    vectors = torch.zeros(64, 32, 28, 28).contiguous(memory_format=torch.channels_last)
    out, _ = Noise(1.0, std=0.5)(vectors, torch.zeros(64, 2), Draws(0, 0, torch.arange(64), 64), SETTING)
    channel = out.mean((2, 3))  # [64, 32]: the channel's number, with 1/28 of the cells' spread
    within = out - channel[:, :, None, None]
    assert abs(float(channel.std()) - 1) < 0.05
    assert abs(float(within.std()) - 1) < 0.01
    assert stats.kstest(within.flatten()[::37].double().numpy(), "norm").pvalue > 1e-3
    assert abs(float(torch.corrcoef(within.flatten(1)[:2])[0, 1])) < 0.03


@pytest.mark.parametrize("shape", [(4, 12, 9), (3, 5, 7), (1, 1, 1)])
def test_the_kernel_adds_the_numbers_that_torch_adds(shape: tuple[int, int, int]) -> None:
    vectors = torch.randn(9, *shape).contiguous(memory_format=torch.channels_last)
    draws = Draws(5, 2, torch.arange(20, 29), 9)
    by_kernel, _ = Noise(0.5, 0.7)(vectors.clone(), torch.zeros(9, 2), draws, SETTING)
    learned = (vectors + torch.zeros((), requires_grad=True)).contiguous(memory_format=torch.channels_last)
    by_torch, _ = Noise(0.5, 0.7)(learned, torch.zeros(9, 2), draws, SETTING)
    assert by_torch.requires_grad
    assert bool((by_kernel != vectors).any())
    assert (by_kernel - by_torch.detach()).abs().max() < 1e-5
    channel, full = Noise().numbers(draws, shape)
    added = (channel[:, None, None] + full).movedim(-1, 1) * 0.7 * 2
    taken = (draws.uniform("noise", 1)[:, 0] < 0.5)[:, None, None, None]
    assert (by_kernel - vectors - taken * added).abs().max() < 1e-5


def test_noise_takes_its_share_of_rows_and_leaves_the_rest_untouched() -> None:
    vectors = torch.zeros(1000, 2, 3, 3).contiguous(memory_format=torch.channels_last)
    out, targets = Noise(0.5)(vectors, torch.ones(1000, 1), Draws(0, 0, torch.arange(1000), 1000), SETTING)
    touched = (out != 0).flatten(1)
    assert bool((touched.all(1) == touched.any(1)).all())
    assert abs(float(touched.any(1).float().mean()) - 0.5) < 0.06
    assert bool((targets == 1).all())


def test_released_noise_takes_exactly_half_of_each_group_however_it_is_split() -> None:
    noise = Noise(0.5, exact=True)
    parts = []
    for at in range(0, 14, 4):
        positions = torch.arange(28)[at * 2 : at * 2 + 8]
        vectors = torch.zeros(len(positions), 2, 3, 3).contiguous(memory_format=torch.channels_last)
        parts.append(noise(vectors, torch.zeros(len(positions), 1), Draws(0, 0, positions, 14), SETTING)[0])
    touched = (torch.cat(parts) != 0).flatten(1).any(1)
    assert touched.view(2, 14).sum(1).tolist() == [7, 7]


def test_exactly_half_is_half_of_each_128_rows_of_a_batch() -> None:
    vectors = torch.zeros(600, 2, 3, 3).contiguous(memory_format=torch.channels_last)
    out, _ = Noise(0.5, exact=True)(vectors, torch.zeros(600, 1), Draws(0, 0, torch.arange(600), 300), SETTING)
    touched = (out != 0).flatten(1).any(1).split([128, 128, 44] * 2)
    assert [int(part.sum()) for part in touched] == [64, 64, 22] * 2


@pytest.mark.parametrize(("probability", "rows"), [(0.05, 0), (0.3, 4), (1.0, 14)])
def test_an_exact_share_is_rounded_down(probability: float, rows: int) -> None:
    vectors = torch.zeros(14, 2, 3, 3).contiguous(memory_format=torch.channels_last)
    out, _ = Noise(probability, exact=True)(vectors, torch.zeros(14, 1), Draws(0, 0, torch.arange(14), 14), SETTING)
    assert int((out != 0).flatten(1).any(1).sum()) == rows


def test_wrong_noise_is_refused_in_one_sentence() -> None:
    with pytest.raises(RecipeError, match=r"noise.probability: a probability of 1\.1"):
        Noise(1.1)
    with pytest.raises(RecipeError, match=r"noise\.std: a standard deviation of -1"):
        Noise(0.5, -1)
    with pytest.raises(RecipeError, match=r"noise\.unit: there is no unit 'rsm'; did you mean 'rms'"):
        Noise(unit="rsm")
