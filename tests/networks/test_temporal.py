from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.networks.masked import changes_nothing_behind_the_mask
from vmm_cli.networks.temporal import TEMPORAL, masked_mean, run_over_present, sine_positions

WIDTH = 12
EVERY = pytest.mark.parametrize("name", sorted(TEMPORAL))


def network(name: str, *, layers: int = 2, width: int = WIDTH) -> nn.Module:
    torch.manual_seed(3)
    return TEMPORAL[name](width, layers=layers, dropout=0.2).eval()


def sample() -> tuple[Tensor, Tensor]:
    """Six rows of 9 steps: whole, cut, with gaps, one step, nothing, and a late start."""
    torch.manual_seed(4)
    mask = torch.tensor(
        [
            [1, 1, 1, 1, 1, 1, 1, 1, 1],
            [1, 1, 1, 1, 0, 0, 0, 0, 0],
            [1, 0, 1, 1, 0, 0, 1, 0, 1],
            [1, 0, 0, 0, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0, 0, 0, 0],
            [0, 0, 0, 1, 1, 0, 1, 1, 1],
        ],
        dtype=torch.bool,
    )
    return torch.randn(*mask.shape, WIDTH), mask


@EVERY
@pytest.mark.parametrize("garbage", [1e6, float("inf"), float("nan")])
def test_what_lies_behind_the_mask_changes_nothing(name: str, garbage: float) -> None:
    changes_nothing_behind_the_mask(network(name), *sample(), garbage)


@EVERY
def test_more_padding_changes_nothing(name: str) -> None:
    net = network(name)
    x, mask = sample()
    more = torch.cat([x, torch.randn(6, 5, WIDTH)], dim=1)
    padded = net(more, F.pad(mask, (0, 5)))
    torch.testing.assert_close(padded[:, :9], net(x, mask), rtol=0, atol=1e-5)
    assert not padded[:, 9:].any()


@EVERY
def test_each_row_is_by_itself(name: str) -> None:
    net = network(name)
    x, mask = sample()
    together = net(x, mask)
    for row in range(len(x)):
        alone = net(x[row : row + 1], mask[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-5)


@EVERY
def test_what_is_not_there_comes_out_as_zero(name: str) -> None:
    x, mask = sample()
    y = network(name)(x, mask)
    assert y.shape == x.shape
    assert not y[~mask].any()
    assert y[mask].any(dim=1).all()


@EVERY
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("width", [8, 9, 10])
def test_any_width_and_depth_has_finite_gradients(name: str, layers: int, width: int) -> None:
    net = network(name, layers=layers, width=width).train()
    _, mask = sample()
    x = torch.randn(*mask.shape, width, requires_grad=True)
    net(x, mask).square().sum().backward()
    for parameter in [x, *net.parameters()]:
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


@EVERY
def test_a_batch_without_any_step_is_zeros(name: str) -> None:
    net = network(name).train()
    y = net(torch.randn(2, 4, WIDTH), torch.zeros(2, 4, dtype=torch.bool))
    assert not y.any()
    assert y.isfinite().all()


@pytest.mark.parametrize("name", sorted(set(TEMPORAL) - {"mean", "none"}))
def test_the_order_of_steps_is_seen(name: str) -> None:
    net = network(name)
    x, mask = sample()
    x, mask = x[:1], mask[:1]
    there_and_back = net(x.flip(1), mask).flip(1)
    assert not torch.allclose(there_and_back, net(x, mask), atol=1e-3)
    # and so after the mean over time, which the head takes
    assert not torch.allclose(there_and_back.mean(1), net(x, mask).mean(1), atol=1e-4)


def test_the_mean_is_over_what_is_there() -> None:
    x, mask = sample()
    y = TEMPORAL["mean"](WIDTH, layers=1, dropout=0.0)(x, mask)
    for row in (0, 1, 2, 3, 5):
        expected = x[row][mask[row]].mean(dim=0)
        torch.testing.assert_close(y[row][mask[row]], expected.expand(int(mask[row].sum()), -1))
        torch.testing.assert_close(masked_mean(x, mask)[row], expected)


@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU])
def test_gaps_are_passed_over(cell: type[nn.LSTM] | type[nn.GRU]) -> None:
    torch.manual_seed(0)
    recurrent = cell(WIDTH, 5, 2, batch_first=True, bidirectional=True)
    x, mask = sample()
    y = run_over_present(recurrent, x, mask)
    for row in (0, 1, 2, 3, 5):
        alone, _ = recurrent(x[row][mask[row]][None])
        torch.testing.assert_close(y[row][mask[row]], alone[0], rtol=0, atol=1e-6)


def test_garbage_behind_the_mask_reaches_no_recurrent_weight() -> None:
    recurrent = nn.GRU(WIDTH, 5, batch_first=True, bidirectional=True)
    x, mask = sample()
    y = run_over_present(recurrent, x.masked_fill(~mask[..., None], torch.nan), mask)
    assert not y[~mask].any()
    y.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in recurrent.parameters())


def test_attention_tells_where_a_gap_is() -> None:
    """Positions count all steps of the grid, unlike what recurrent networks read."""
    net = network("transformer")
    x, mask = sample()
    x, mask = x[2:3], mask[2:3]
    close = net(x[mask][None], torch.ones(1, int(mask.sum()), dtype=torch.bool))
    assert not torch.allclose(net(x, mask)[mask], close[0], atol=1e-3)


def test_attention_is_that_of_the_paper() -> None:
    torch.manual_seed(0)
    from vmm_cli.networks.temporal import AttentionLayer

    layer = AttentionLayer(WIDTH, 0.0).eval()
    x, mask = sample()
    x, mask = x[1:2], mask[1:2]
    positions = sine_positions(9, WIDTH)
    y = layer.norm_attention(x)
    query, key = layer.query_key(y + positions).chunk(2, dim=-1)
    parts = []
    for q, k, v in zip(
        query.chunk(4, -1), key.chunk(4, -1), layer.value(y).chunk(4, -1), strict=True
    ):
        scores = (q @ k.transpose(1, 2) / 3**0.5).masked_fill(~mask[:, None], -torch.inf)
        parts.append(scores.softmax(-1) @ v)
    z = x + layer.project(torch.cat(parts, -1))
    expected = z + layer.feed(layer.norm_feed(z))
    torch.testing.assert_close(layer(x, mask[:, None, None], positions), expected)


def test_positions_are_sine_waves() -> None:
    table = sine_positions(50, 9)
    assert table.shape == (50, 9)
    assert table[0].tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0]
    torch.testing.assert_close(table[:, 0], torch.arange(50.0).sin())
    torch.testing.assert_close(table[:, 3], (torch.arange(50.0) * 10_000 ** (-1 / 5)).cos())


def test_convolutions_reach_seven_steps_a_layer() -> None:
    net = network("tcn", layers=1)
    x = torch.randn(1, 31, WIDTH, requires_grad=True)
    net(x, torch.ones(1, 31, dtype=torch.bool))[0, 15].square().sum().backward()
    assert x.grad is not None
    reached = x.grad[0].any(dim=1).nonzero().flatten().tolist()
    assert reached == list(range(8, 23))
