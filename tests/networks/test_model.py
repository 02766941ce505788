from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vmm_cli.networks.frontends import FRONT_ENDS
from vmm_cli.networks.fusion import FUSION
from vmm_cli.networks.model import READS, FusionNetwork, StreamShape
from vmm_cli.networks.temporal import TEMPORAL

Inputs = tuple[dict[str, Tensor], dict[str, Tensor], Tensor]

WIDTH = 8
STEPS = 6
SHAPES = (
    StreamShape("image", "features", 5, "identity-change"),
    StreamShape("motion", "features", 4, "change"),
    StreamShape("text", "tokens", 1, "lstm", vocabulary=15),
    StreamShape("audio", "patches", 1 * 8 * 6, "cnn"),
)
EVERY = pytest.mark.parametrize(
    ("temporal", "fusion"), list(itertools.product(sorted(TEMPORAL), sorted(FUSION)))
)


def network(
    temporal: str = "gru",
    fusion: str = "gated",
    shapes: Sequence[StreamShape] = SHAPES,
    **args: Any,
) -> FusionNetwork:
    torch.manual_seed(7)
    built: dict[str, Any] = {"width": WIDTH, "layers": 2, "dropout": 0.2, "outputs": 3} | args
    return FusionNetwork(shapes, temporal=temporal, fusion=fusion, **built).eval()


def sample() -> Inputs:
    """Rows: whole; cut; gaps that differ by stream; one step; nothing; and one stream missing."""
    torch.manual_seed(8)
    lengths = torch.tensor([6, 3, 6, 1, 5, 6, 6, 6, 6])
    grid = torch.arange(STEPS) < lengths[:, None]  # [B, T]
    rows = len(lengths)
    values = {
        "image": torch.randn(rows, STEPS, 5),
        "motion": torch.randn(rows, STEPS, 4),
        "text": torch.randint(2, 15, (rows, 7)),
        "audio": torch.randn(rows, STEPS, 1, 8, 6),
    }
    masks = {name: grid.clone() for name in values}
    masks["text"] = torch.arange(7) < torch.tensor([7, 2, 5, 1, 0, 7, 7, 4, 4])[:, None]
    masks["image"][2, [1, 3]] = False
    masks["motion"][2, [0, 3, 5]] = False
    masks["audio"][2, 2:4] = False
    masks["text"][2, [0, 2]] = False
    for name, row in zip(values, range(5, 9), strict=True):
        masks[name][[4, row]] = False
    return values, masks, grid


def with_garbage(inputs: Inputs, garbage: float) -> Inputs:
    values, masks, grid = inputs
    dirty = {}
    for name, x in values.items():
        behind = ~masks[name].reshape(*masks[name].shape, *[1] * (x.ndim - 2))
        dirty[name] = x.masked_fill(behind, garbage if x.is_floating_point() else -9)
    return dirty, masks, grid


def padded(inputs: Inputs, steps: int) -> Inputs:
    values, masks, grid = inputs
    longer = {}
    for name, x in values.items():
        rest = torch.full((len(x), steps, *x.shape[2:]), 99, dtype=x.dtype)
        longer[name] = torch.cat([x, rest], dim=1)
    return longer, {n: F.pad(m, (0, steps)) for n, m in masks.items()}, F.pad(grid, (0, steps))


def rows_of(inputs: Inputs, rows: list[int]) -> Inputs:
    values, masks, grid = inputs
    return (
        {n: x[rows] for n, x in values.items()},
        {n: m[rows] for n, m in masks.items()},
        grid[rows],
    )


def test_every_front_end_says_what_it_reads() -> None:
    assert set(READS) == set(FRONT_ENDS)
    assert set(TEMPORAL) == {"mean", "lstm", "gru", "transformer", "tcn", "none"}
    assert set(FUSION) == {"concat", "weighted", "gated", "attention", "graph"}


@EVERY
def test_padding_and_what_lies_behind_the_mask_change_nothing(temporal: str, fusion: str) -> None:
    net, inputs = network(temporal, fusion), sample()
    net.fit_statistics(*inputs[:2])
    with torch.inference_mode():
        expected = net(*inputs)
        assert expected.isfinite().all()
        for garbage in (1e9, float("nan")):
            assert net(*with_garbage(inputs, garbage)).equal(expected)
        more = padded(inputs, 5)
        torch.testing.assert_close(net(*more), expected, rtol=0, atol=1e-5)
        for row in range(len(expected)):  # what else is in the batch does not matter either
            alone = net(*rows_of(inputs, [row]))
            torch.testing.assert_close(alone, expected[row : row + 1], rtol=0, atol=1e-5)


@EVERY
def test_steps_beyond_the_grid_change_nothing(temporal: str, fusion: str) -> None:
    """A stream's mask may say more than the grid: the grid has the last word."""
    net, (values, masks, grid) = network(temporal, fusion), sample()
    everywhere = {n: m if n == "text" else torch.ones_like(m) for n, m in masks.items()}
    within = {n: m if n == "text" else m & grid for n, m in everywhere.items()}
    with torch.inference_mode():
        assert net(values, everywhere, grid).equal(net(values, within, grid))


@EVERY
@pytest.mark.parametrize("left", [3, 1])
def test_an_absent_stream_is_as_if_it_had_never_been(temporal: str, fusion: str, left: int) -> None:
    """The rows without the last streams come out as from a network built without them."""
    net, (values, masks, grid) = network(temporal, fusion), sample()
    for shape in SHAPES[left:]:
        masks[shape.name] = torch.zeros_like(masks[shape.name])
    small = network(temporal, fusion, SHAPES[:left])
    big = net.state_dict()
    # What belongs to the last streams stands last in every weight.
    small.load_state_dict(
        {k: big[k][tuple(slice(n) for n in v.shape)] for k, v in small.state_dict().items()}
    )
    kept = [shape.name for shape in SHAPES[:left]]
    with torch.inference_mode():
        expected = small({n: values[n] for n in kept}, {n: masks[n] for n in kept}, grid)
        torch.testing.assert_close(net(values, masks, grid), expected, rtol=0, atol=1e-5)
        # whatever else is in the batch
        alone = network(temporal, fusion)(*rows_of(sample(), [0, 1]))
        both = network(temporal, fusion)(*rows_of(sample(), [0, 1, 5, 8]))
        torch.testing.assert_close(both[:2], alone, rtol=0, atol=1e-5)


@EVERY
def test_each_stream_counts(temporal: str, fusion: str) -> None:
    net, (values, masks, grid) = network(temporal, fusion), sample()
    with torch.inference_mode():
        whole = net(values, masks, grid)[:4]
        for name in values:
            less = net(values, masks | {name: torch.zeros_like(masks[name])}, grid)[:4]
            assert not torch.isclose(less, whole, atol=1e-6).all(dim=1).any()


@EVERY
def test_gradients_are_finite_and_reach_every_weight(temporal: str, fusion: str) -> None:
    net, inputs = network(temporal, fusion).train(), with_garbage(sample(), float("nan"))
    loss = F.cross_entropy(net(*inputs), torch.arange(9) % 3)
    loss.backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


@EVERY
def test_rows_without_any_stream_give_the_bias(temporal: str, fusion: str) -> None:
    net, inputs = network(temporal, fusion), sample()
    with torch.inference_mode():
        assert net(*inputs)[4].equal(net.head.linear.bias)
    net.train()
    nothing = rows_of(inputs, [4, 4])
    net(*nothing).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("temporal", sorted(TEMPORAL))
def test_eight_samples_are_learnt_by_heart(temporal: str) -> None:
    torch.manual_seed(0)
    shapes = (StreamShape("image", "features", 6, "identity"), SHAPES[2])
    net = network(temporal, "concat", shapes, dropout=0.0, outputs=4).train()
    values = {"image": torch.randn(8, STEPS, 6), "text": torch.randint(2, 15, (8, 7))}
    grid = torch.arange(STEPS) < torch.tensor([6, 6, 4, 3, 2, 1, 6, 5])[:, None]
    masks = {"image": grid, "text": torch.ones(8, 7, dtype=torch.bool)}
    truth = torch.arange(8) % 4
    net.fit_statistics(values, masks)
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-2)
    for _ in range(60):
        optimiser.zero_grad()
        F.cross_entropy(net(values, masks, grid), truth).backward()
        optimiser.step()
    with torch.inference_mode():
        logits = net.eval()(values, masks, grid)
    assert logits.argmax(1).equal(truth)
    assert F.cross_entropy(logits, truth) < 0.1


@pytest.mark.parametrize("temporal", sorted(set(TEMPORAL) - {"mean", "none"}))
def test_the_order_of_steps_can_be_learnt(temporal: str) -> None:
    """Up or down: the mean over time is the same, so only what reads over time can tell."""
    torch.manual_seed(0)
    shapes = (StreamShape("image", "features", 4, "identity"),)
    net = network(temporal, "concat", shapes, dropout=0.0, outputs=2).train()
    rising = torch.linspace(-1, 1, STEPS)[:, None] * torch.randn(64, 1, 4).sign()
    truth = (rising[:, 0, 0] > 0).long()
    values, grid = {"image": rising}, torch.ones(64, STEPS, dtype=torch.bool)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for _ in range(50):
        optimiser.zero_grad()
        F.cross_entropy(net(values, {"image": grid}, grid), truth).backward()
        optimiser.step()
    assert (net(values, {"image": grid}, grid).argmax(1) == truth).all()


@EVERY
def test_weights_come_back_from_a_state_dict(temporal: str, fusion: str) -> None:
    net, inputs = network(temporal, fusion), sample()
    net.fit_statistics(*inputs[:2])
    state = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    torch.manual_seed(99)
    other = FusionNetwork(
        SHAPES, temporal=temporal, fusion=fusion, width=WIDTH, layers=2, dropout=0.2, outputs=3
    ).eval()
    other.load_state_dict(state)
    with torch.inference_mode():
        assert other(*inputs).equal(net(*inputs))


@pytest.mark.parametrize("temporal", ["mean", "lstm", "gru"])
def test_steps_without_any_stream_do_not_thin_the_others(temporal: str) -> None:
    """What has no clock of its own reads a sample with holes as one without."""
    net = network(temporal, "concat", SHAPES[:2])
    values, masks, grid = rows_of(sample(), [0])
    there = torch.tensor([[False, True, True, False, False, True]])
    masks = dict.fromkeys(("image", "motion"), there)
    values = {name: values[name] for name in masks}
    close = {name: x[there][None] for name, x in values.items()}
    every = torch.ones(1, 3, dtype=torch.bool)
    with torch.inference_mode():
        found = net(values, masks, grid)
        expected = net(close, dict.fromkeys(masks, every), every)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_one_seed_gives_one_network() -> None:
    one, other = network().state_dict(), network().state_dict()
    assert all(one[key].equal(other[key]) for key in one)


def test_statistics_are_taken_of_what_is_there() -> None:
    net, inputs = network(), sample()
    net.fit_statistics(*with_garbage(inputs, float("nan"))[:2])
    values, masks, _ = inputs
    mean = net.front_ends["image"].standardise.mean
    torch.testing.assert_close(mean[:5], values["image"][masks["image"]].mean(0))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"temporal": "transfomer"}, "no temporal network named 'transfomer'; did you mean 'trans"),
        ({"fusion": "sum"}, "no fusion named 'sum'.* There are concat, weighted, gated, attention"),
    ],
)
def test_an_unknown_choice_is_refused_with_the_choices(changed: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(**changed)


def test_a_stream_must_be_readable() -> None:
    with pytest.raises(ValueError, match="no front end named 'identty'; did you mean 'identity'"):
        StreamShape("image", "features", 5, "identty")
    with pytest.raises(ValueError, match="'image': front end 'cnn' cannot read features; identity"):
        StreamShape("image", "features", 5, "cnn")


def test_streams_have_names_of_their_own() -> None:
    with pytest.raises(ValueError, match="names of their own"):
        network(shapes=[SHAPES[0], SHAPES[0]])
    with pytest.raises(ValueError, match="names of their own"):
        network(shapes=[])
