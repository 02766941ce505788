from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.networks.masked import changes_nothing_behind_the_mask
from vmm_cli.networks.fusion import FUSION, MessageRound

WIDTH = 6
STREAMS = 3
STEPS = 5
EVERY = pytest.mark.parametrize("name", sorted(FUSION))


def network(name: str, streams: int = STREAMS) -> nn.Module:
    torch.manual_seed(5)
    net = FUSION[name](streams, WIDTH, dropout=0.2).eval()
    with torch.no_grad():
        for parameter in net.parameters():  # also those that start at zero
            parameter.add_(0.3 * torch.randn_like(parameter))
    return net


def without(net: nn.Module, name: str, stream: int) -> nn.Module:
    """Return the same network as if it had been built without a stream: its weights cut out."""
    left = [s for s in range(STREAMS) if s != stream]
    columns = torch.cat([torch.arange(s * WIDTH, (s + 1) * WIDTH) for s in left])
    small = FUSION[name](STREAMS - 1, WIDTH, dropout=0.2).eval()
    big = net.state_dict()
    cut: dict[str, Tensor] = {}
    for key in small.state_dict():
        parts = key.split(".")
        if parts[0] in ("shown", "look", "read"):
            cut[key] = big[".".join([parts[0], str(left[int(parts[1])]), *parts[2:]])]
        elif parts[0] in ("scores", "stream"):
            cut[key] = big[key][left]
        elif parts[0] == "gates":
            cut[key] = big[key][columns][:, columns] if parts[1] == "weight" else big[key][columns]
        elif key == "mix.weight":
            cut[key] = big[key][:, columns]
        else:
            cut[key] = big[key]
    small.load_state_dict(cut)
    return small


def sample() -> tuple[Tensor, Tensor]:
    """One row for each way that three streams can be there or not, and rows with gaps."""
    torch.manual_seed(6)
    ways = torch.tensor(list(itertools.product([False, True], repeat=STREAMS)))  # [8, S]
    gaps = torch.rand(8, STREAMS, STEPS) < 0.5
    mask = torch.cat([ways[..., None].expand(-1, -1, STEPS), gaps])
    return torch.randn(*mask.shape, WIDTH), mask


@EVERY
@pytest.mark.parametrize("stream", range(STREAMS))
def test_an_absent_stream_is_as_if_it_had_never_been(name: str, stream: int) -> None:
    net = network(name)
    x, mask = sample()
    mask = mask.clone()
    mask[:, stream] = False
    left = [s for s in range(STREAMS) if s != stream]
    expected = without(net, name, stream)(x[:, left], mask[:, left])
    torch.testing.assert_close(net(x, mask), expected, rtol=0, atol=1e-6)


@EVERY
@pytest.mark.parametrize("garbage", [1e6, float("inf"), float("nan")])
def test_what_lies_behind_the_mask_changes_nothing(name: str, garbage: float) -> None:
    changes_nothing_behind_the_mask(network(name), *sample(), garbage)


@EVERY
def test_more_padding_changes_nothing(name: str) -> None:
    net = network(name)
    x, mask = sample()
    more = torch.cat([x, torch.randn(len(x), STREAMS, 4, WIDTH)], dim=2)
    padded = net(more, F.pad(mask, (0, 4)))
    torch.testing.assert_close(padded[:, :STEPS], net(x, mask), rtol=0, atol=1e-6)


@EVERY
def test_a_step_without_any_stream_is_zero(name: str) -> None:
    x, mask = sample()
    y = network(name)(x, mask)
    assert y.shape == (len(x), STEPS, WIDTH)
    there = mask.any(dim=1)
    assert not y[~there].any()
    assert y[there].any(dim=1).all()


@EVERY
@pytest.mark.parametrize("steps", [1, STEPS])
@pytest.mark.parametrize("streams", [1, 2, 4])
def test_any_number_of_streams_and_steps_has_finite_gradients(
    name: str, streams: int, steps: int
) -> None:
    net = network(name, streams).train()
    mask = torch.rand(7, streams, steps) < 0.5
    net(torch.randn(*mask.shape, WIDTH), mask).square().sum().backward()
    for parameter in net.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


def test_weights_start_equal_and_are_shared_among_those_there() -> None:
    net = FUSION["weighted"](STREAMS, WIDTH, dropout=0.0)
    x, mask = sample()
    expected = x.masked_fill(~mask[..., None], 0).sum(1) / mask.sum(1).clamp(min=1)[..., None]
    torch.testing.assert_close(net(x, mask), expected)
    with torch.no_grad():
        net.scores.copy_(torch.tensor([2.0, 0.0, -1.0]))
    shares = net.scores[[0, 2]].softmax(0)
    two = mask & torch.tensor([True, False, True])[:, None]
    both = two.sum(1) == 2
    expected = shares[0] * x[:, 0] + shares[1] * x[:, 2]
    torch.testing.assert_close(net(x, two)[both], expected[both])


def test_attention_weights_depend_on_what_is_shown() -> None:
    net = network("attention")
    x, _ = sample()
    everything = torch.ones(len(x), STREAMS, STEPS, dtype=torch.bool)
    twice = net(2 * x, everything)
    assert not torch.allclose(twice, 2 * net(x, everything), atol=1e-2)


def test_messages_go_along_the_edges_only() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 3, 7, WIDTH, requires_grad=True)
    there = torch.ones(1, 3, 7, 1, dtype=torch.bool)
    there[0, 0, 4] = False
    MessageRound(WIDTH, 0.0)(x * there, there)[0, 0, 3].square().sum().backward()
    assert x.grad is not None
    heard = {tuple(place) for place in x.grad[0].any(dim=-1).nonzero().tolist()}
    assert heard == {(0, 3), (0, 2), (1, 3), (2, 3)}


def test_a_round_is_what_a_loop_over_the_nodes_computes() -> None:
    torch.manual_seed(0)
    message_round = MessageRound(WIDTH, 0.0)
    there = torch.rand(4, STREAMS, STEPS) < 0.6
    x = torch.randn(4, STREAMS, STEPS, WIDTH) * there[..., None]
    found = message_round(x, there[..., None])
    state = message_round.norm(x)
    nothing = torch.zeros(WIDTH)
    for b, s, t in there.nonzero().tolist():
        beside = [state[b, o, t] for o in range(STREAMS) if o != s and there[b, o, t]]
        before = state[b, s, t - 1] if t > 0 and there[b, s, t - 1] else nothing
        after = state[b, s, t + 1] if t + 1 < STEPS and there[b, s, t + 1] else nothing
        mean = torch.stack(beside).mean(dim=0) if beside else nothing
        heard = message_round.hear(torch.cat([state[b, s, t], mean, before, after]))
        expected = x[b, s, t] + message_round.update(F.gelu(heard))
        torch.testing.assert_close(found[b, s, t], expected)
    assert not found[~there].any()
