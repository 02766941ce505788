from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vmm_cli.networks.frontends import FRONT_ENDS, Standardise, change

WIDTH = 10
SHAPES: dict[str, tuple[int, ...]] = {
    "identity": (7,),
    "change": (7,),
    "identity-change": (7,),
    "cnn": (2, 12, 9),
    "lstm": (),
    "skeleton-graph": (2 * 101,),
}
TIMED = sorted(set(SHAPES) - {"lstm"})
EVERY = pytest.mark.parametrize("name", sorted(SHAPES))
MASK = torch.tensor(
    [
        [1, 1, 1, 1, 1, 1],
        [1, 1, 1, 0, 0, 0],
        [0, 1, 0, 1, 1, 0],
        [0, 0, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ],
    dtype=torch.bool,
)


def front_end(name: str, **changed: Any) -> nn.Module:
    torch.manual_seed(1)
    shape = SHAPES[name]
    arguments: dict[str, Any] = {
        "width_in": int(torch.tensor(shape).prod()) if shape else 1,
        "width": WIDTH,
        "dropout": 0.3,
        "channels": shape[0] if len(shape) == 3 else 1,
        "vocabulary": 20 if name == "lstm" else 0,
    }
    return FRONT_ENDS[name](**arguments | changed).eval()


def sample(name: str, mask: Tensor = MASK) -> Tensor:
    torch.manual_seed(2)
    if name == "lstm":
        return torch.randint(0, 20, mask.shape)
    return torch.randn(*mask.shape, *SHAPES[name])


def spoilt(values: Tensor, mask: Tensor, garbage: float) -> Tensor:
    behind = ~mask.reshape(*mask.shape, *[1] * (values.ndim - 2))
    return values.masked_fill(behind, garbage)


def test_the_shapes_cover_every_front_end() -> None:
    assert set(SHAPES) == set(FRONT_ENDS)


@EVERY
def test_it_gives_the_width_and_the_mask(name: str) -> None:
    x, mask = front_end(name)(sample(name), MASK)
    if name == "lstm":
        assert x.shape == (5, WIDTH)
        assert mask.tolist() == [True, True, True, True, False]
    else:
        assert x.shape == (5, 6, WIDTH)
        assert mask.equal(MASK)
    assert not x[~mask].any()
    assert x[mask].any(dim=-1).all()


@EVERY
@pytest.mark.parametrize("garbage", [1e6, float("inf"), float("nan")])
def test_what_lies_behind_the_mask_changes_nothing(name: str, garbage: float) -> None:
    net, values = front_end(name), sample(name)
    expected, _ = net(values, MASK)
    if name == "lstm":
        garbage = -5  # no token
    dirty = spoilt(values, MASK, garbage)
    found, _ = net(dirty, MASK)
    assert found.equal(expected)
    clean_fit, dirty_fit = front_end(name), front_end(name)
    clean_fit.fit(values, MASK)
    dirty_fit.fit(dirty, MASK)
    assert dirty_fit(dirty, MASK)[0].equal(clean_fit(values, MASK)[0])
    found.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@EVERY
def test_more_padding_changes_nothing(name: str) -> None:
    net, values = front_end(name), sample(name)
    net.fit(values, MASK)
    expected, _ = net(values, MASK)
    more = torch.cat([values, sample(name, torch.ones(5, 3))], dim=1)
    found, mask = net(more, F.pad(MASK, (0, 3)))
    if name != "lstm":
        assert mask.equal(F.pad(MASK, (0, 3)))
        assert not found[:, 6:].any()
        found = found[:, :6]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@EVERY
def test_each_row_is_by_itself(name: str) -> None:
    net, values = front_end(name), sample(name)
    together, _ = net(values, MASK)
    for row in range(5):
        alone, _ = net(values[row : row + 1], MASK[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-5)


@EVERY
def test_nothing_at_all_is_no_error(name: str) -> None:
    net = front_end(name).train()
    nothing = torch.zeros_like(MASK)
    net.fit(sample(name), nothing)
    x, mask = net(sample(name), nothing)
    assert not x.any()
    assert not mask.any()
    x.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in net.parameters())


@pytest.mark.parametrize("name", TIMED)
def test_fitting_makes_it_blind_to_scale_and_offset(name: str) -> None:
    values = sample(name)
    plain, scaled = front_end(name), front_end(name)
    plain.fit(values, MASK)
    scaled.fit(1000 + 50 * values, MASK)
    found, _ = scaled(1000 + 50 * values, MASK)
    torch.testing.assert_close(found, plain(values, MASK)[0], rtol=1e-3, atol=1e-3)
    assert plain.state_dict().keys() >= {"standardise.mean", "standardise.std"}


def test_standardised_values_have_mean_0_and_deviation_1() -> None:
    torch.manual_seed(0)
    values = 3000 + torch.randn(500, 4) * torch.tensor([1.0, 5.0, 0.0, 1e-9])
    values[:, 1] -= 3000
    standardise = Standardise(4)
    assert standardise(values).equal(values)
    standardise.fit(values)
    found = standardise(values).double()
    torch.testing.assert_close(found.mean(0), torch.zeros(4).double(), rtol=0, atol=1e-2)
    torch.testing.assert_close(found[:, :2].std(0), torch.ones(2).double(), rtol=0, atol=5e-3)
    # What never varied is not blown up when it does.
    assert standardise(torch.full((1, 4), 3000.5))[0, 2:].abs().max() < 100


def test_values_that_never_vary_are_only_moved() -> None:
    standardise = Standardise(3)
    standardise.fit(torch.full((6, 3), 5.0))
    assert standardise(torch.full((1, 3), 7.0)).tolist() == [[2, 2, 2]]


def test_change_is_between_neighbours_that_are_there() -> None:
    values = torch.tensor([1.0, 3, 6, 2, 2, 9]).expand(5, -1)[..., None]
    found = change(values.masked_fill(~MASK[..., None], 0), MASK)[..., 0]
    assert found[0].tolist() == [2, 2, 3, 4, 0, 7]
    assert found[1, :3].tolist() == [2, 2, 3]
    assert found[2][MASK[2]].tolist() == [1, 1, 0]  # 3, 2, 2
    assert found[3][MASK[3]].tolist() == [0]


def test_views_are_side_by_side() -> None:
    both, values = front_end("identity-change"), sample("identity-change")
    one, other = front_end("identity"), front_end("change")
    with torch.no_grad():
        for net, columns in ((one, slice(0, 7)), (other, slice(7, 14))):
            net.linear.weight.copy_(both.linear.weight[:, columns])
            net.linear.bias.zero_()
        both.linear.bias.zero_()
    for net in (both, one, other):
        net.fit(values, MASK)
    expected = one(values, MASK)[0] + other(values, MASK)[0]
    torch.testing.assert_close(both(values, MASK)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 80, 25), (1, 1, 1), (3, 7, 30)])
def test_patches_of_any_size_are_read(shape: tuple[int, ...]) -> None:
    net = front_end("cnn", width_in=int(torch.tensor(shape).prod()), channels=shape[0])
    x, _ = net(torch.randn(*MASK.shape, *shape), MASK)
    assert x.shape == (5, 6, WIDTH)


def test_the_order_of_words_is_seen() -> None:
    net = front_end("lstm")
    mask = torch.ones(2, 5, dtype=torch.bool)
    x, _ = net(torch.tensor([[2, 3, 4, 5, 6], [6, 5, 4, 3, 2]]), mask)
    assert not torch.allclose(x[0], x[1], atol=1e-4)


def test_words_become_unknown_in_training_only() -> None:
    net = front_end("lstm", dropout=0.4)
    seen: list[Tensor] = []
    net.embedding.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    tokens, mask = torch.full((50, 40), 7), torch.ones(50, 40, dtype=torch.bool)
    mask[:, 30:] = False
    net(tokens, mask)
    net.train()(tokens, mask)
    read, trained = seen
    assert (read[:, :30] == 7).all()
    assert (read[:, 30:] == 0).all()
    assert (trained[:, 30:] == 0).all()
    assert 0.35 < (trained[:, :30] == 1).float().mean() < 0.45


def test_a_skeleton_that_is_not_there_says_nothing() -> None:
    net = front_end("skeleton-graph")
    values = sample("skeleton-graph")
    values[..., 101:] = 0
    net.fit(values, MASK)
    one, _ = net(values, MASK)
    swapped, _ = net(values.roll(101, dims=-1), MASK)
    assert one[MASK].any(dim=-1).all()
    # Which place somebody has makes no difference but that of the places' statistics.
    plain = front_end("skeleton-graph")
    first, _ = plain(values, MASK)
    second, _ = plain(values.roll(101, dims=-1), MASK)
    torch.testing.assert_close(first, second, rtol=0, atol=1e-6)
    assert swapped.shape == one.shape


def test_skeletons_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="skeletons are 101 numbers each, got 200"):
        front_end("skeleton-graph", width_in=200)
