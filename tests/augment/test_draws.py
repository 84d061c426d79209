import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_augment import splitmix64
from scipy import stats

from seit.augment import Draws
from seit.augment.draws import bits, bits_by_torch, signed, uniforms, uniforms_by_torch


def test_bits_are_splitmix64_as_published() -> None:
    for key in (0, 1, -1, 0x123456789ABCDEF):
        found = bits(torch.tensor([signed(key)]), 50)[0].tolist()
        assert [word & (1 << 64) - 1 for word in found] == splitmix64(key & (1 << 64) - 1, 50)
    # The generator's first output from state 0, as its author's test vector has it.
    assert splitmix64(0, 1) == [0xE220A8397B1DCDAF]


def test_the_kernels_bits_are_those_of_other_devices() -> None:
    keys = torch.randint(-(2**63), 2**63 - 1, (50,), generator=torch.Generator().manual_seed(0))
    assert torch.equal(bits(keys, 33), bits_by_torch(keys, 33))
    assert torch.equal(uniforms(keys, 33), uniforms_by_torch(keys, 33))


@settings(deadline=None, max_examples=25)
@given(st.permutations(range(12)), st.integers(1, 11))
def test_a_rows_numbers_depend_on_its_position_alone(order: list[int], cut: int) -> None:
    whole = Draws(3, 4, torch.arange(100, 112), 12)
    for kind in ("uniform", "normal"):
        expected = getattr(whole, kind)("x", 7)
        for part in (order[:cut], order[cut:]):
            found = getattr(Draws(3, 4, torch.tensor(part) + 100, 12), kind)("x", 7)
            assert torch.equal(found, expected[part])


def test_seed_epoch_position_and_stream_each_change_every_number() -> None:
    base = Draws(1, 2, torch.tensor([3]), 8).bits("a", 100)
    others = [
        Draws(2, 2, torch.tensor([3]), 8).bits("a", 100),
        Draws(1, 3, torch.tensor([3]), 8).bits("a", 100),
        Draws(1, 2, torch.tensor([4]), 8).bits("a", 100),
        Draws(1, 2, torch.tensor([3]), 8).bits("b", 100),
    ]
    assert all(bool((base != other).all()) for other in others)


def test_uniform_numbers_fill_the_unit_interval_evenly() -> None:
    u = Draws(0, 0, torch.arange(200), 8).uniform("u", 500).flatten()
    assert float(u.min()) >= 0
    assert float(u.max()) < 1
    assert stats.kstest(u.double().numpy(), "uniform").pvalue > 1e-3
    rows = Draws(0, 0, torch.arange(4000), 8).uniform("u", 1)[:, 0]
    assert stats.kstest(rows.double().numpy(), "uniform").pvalue > 1e-3
    assert abs(float(torch.corrcoef(torch.stack((rows[:-1], rows[1:])))[0, 1])) < 4 / math.sqrt(4000)


def test_normal_numbers_are_standard_normal() -> None:
    z = Draws(0, 0, torch.arange(100), 8).normal("z", 2501).flatten().double()
    assert stats.kstest(z[::5].numpy(), "norm").pvalue > 1e-3
    assert abs(float(z.mean())) < 0.01
    assert abs(float(z.var()) - 1) < 0.01
    assert abs(float(z.pow(4).mean()) - 3) < 0.05
    # The four numbers of one word are independent.
    four = z[: len(z) // 4 * 4].view(-1, 4)
    assert float((torch.corrcoef(four.T) - torch.eye(4)).abs().max()) < 0.02


def test_rows_of_a_group_share_its_numbers_and_groups_differ() -> None:
    draws = Draws(5, 0, torch.arange(6, 14), 4)
    assert [(group, at.start, at.stop) for group, at in draws.groups()] == [(1, 0, 2), (2, 2, 6), (3, 6, 8)]
    assert draws.group_uniform("cutmix", 1, 3) != draws.group_uniform("cutmix", 2, 3)
    elsewhere = Draws(5, 0, torch.tensor([4]), 4)
    assert draws.group_uniform("cutmix", 1, 3) == elsewhere.group_uniform("cutmix", 1, 3)
    alone = Draws(5, 0, torch.arange(8, 12), 4).uniform("n", 1)[:, 0]
    assert draws.uniform_of_group("n", 2).tolist() == alone.tolist()
    wide = Draws(5, 0, torch.arange(250, 700), 300)  # two batches of 128, 128 and 44 rows, and the start of a third
    assert [(group, at.start, at.stop) for group, at in wide.groups()] == [
        *[(1, 0, 6), (2, 6, 50)],
        *[(3, 50, 178), (4, 178, 306), (5, 306, 350)],
        (6, 350, 450),
    ]
    assert len(wide.uniform_of_group("n", 5)) == 44
    alone = Draws(5, 0, torch.arange(556, 600), 300).uniform("n", 1)[:, 0]
    assert wide.uniform_of_group("n", 5).tolist() == alone.tolist()
