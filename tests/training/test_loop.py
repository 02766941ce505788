"""The training loop."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training import fabricated
from vmm_cli.errors import DataError
from vmm_cli.inference.examples import examples, tokens_from
from vmm_cli.training.augment import drop_streams, mix
from vmm_cli.training.learn import learn
from vmm_cli.training.learnt import Learnt
from vmm_cli.training.loop import TAIL_PART, _learning_rate, _parameter_groups
from vmm_cli.training.objectives.classes import Targets, _held_out, losses_of, one_hot
from vmm_cli.training.recipe import Optimisation, Recipe

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")


def trained(recipe: Recipe | None = None, seed: int = 0, **more: Any) -> Learnt:
    samples, encoded = fabricated.data()
    return learn(
        fabricated.dataset(samples),
        encoded,
        recipe or fabricated.small(),
        seed=seed,
        device=CPU,
        **more,
    )


def weights(learnt: Learnt) -> dict[str, torch.Tensor]:
    return dict(learnt.network.state_dict())


def same(one: Learnt, other: Learnt) -> bool:
    pairs = zip(weights(one).values(), weights(other).values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


# --- learning -----------------------------------------------------------------------------------


def test_stopping_at_an_epoch_is_the_beginning_of_the_whole_training() -> None:
    recipe = fabricated.small()
    whole, begun = trained(recipe), trained(recipe, until=2)
    losses = [[row["train_loss"] for row in learnt.history] for learnt in (whole, begun)]
    assert losses[1] == losses[0][:2] and len(losses[0]) > 2


def test_it_learns_and_keeps_the_best_epoch() -> None:
    learnt = trained(fabricated.small(epochs=20))
    assert learnt.history[-1]["val_accuracy"] == 1
    assert [row["epoch"] for row in learnt.history] == list(range(1, len(learnt.history) + 1))
    losses = [row["val_loss"] for row in learnt.history]
    assert learnt.best_epoch == 1 + int(np.argmin(losses))
    assert all(row["seconds"] >= 0 for row in learnt.history)


@pytest.mark.parametrize(
    "wanted",
    [{"mixup": 0.4}, {"ema": 0.9}, {"label_smoothing": 0.1}, {"class_weights": False}],
    ids=str,
)
def test_each_way_to_train_learns(wanted: dict[str, Any]) -> None:
    learnt = trained(fabricated.small(epochs=25, **wanted))
    assert max(row["val_accuracy"] for row in learnt.history) == 1


def test_a_seed_decides_everything() -> None:
    one, again, other = trained(), trained(), trained(seed=1)
    assert same(one, again)
    assert not same(one, other)
    strip = [{k: v for k, v in row.items() if k != "seconds"} for row in one.history]
    assert strip == [{k: v for k, v in row.items() if k != "seconds"} for row in again.history]


def test_it_stops_when_validation_gets_no_better() -> None:
    # Labels that follow from nothing: what is learnt is noise, and validation gets worse.
    samples, encoded = fabricated.data()
    turned = [
        replace(s, labels=(fabricated.LABELS[(i // 4) % 2],)) if s.split == "val" else s
        for i, s in enumerate(samples)
    ]
    recipe = fabricated.small(epochs=200, patience=4)
    learnt = learn(fabricated.dataset(turned), encoded, recipe, seed=0, device=CPU)
    assert len(learnt.history) == learnt.best_epoch + 4 < 200


def test_without_validation_all_epochs_are_run() -> None:
    samples, encoded = fabricated.data()
    samples = [replace(s, split="train") for s in samples]
    learnt = learn(
        fabricated.dataset(samples),
        encoded,
        fabricated.small(epochs=5, patience=1),
        seed=0,
        device=CPU,
    )
    assert learnt.best_epoch == len(learnt.history) == 5
    assert "val_loss" not in learnt.history[0]


@pytest.mark.parametrize(
    ("bad", "where"), [(0, "nan in epoch 1, batch 1 of 1"), (3, "nan on the samples of val")]
)
def test_a_loss_that_is_no_number_ends_it_and_names_where(bad: int, where: str) -> None:
    samples, encoded = fabricated.data(8)
    encoded[bad].windows[0].values["image"][0, 0] = np.nan
    recipe = fabricated.small()
    with pytest.raises(DataError, match=where) as caught:
        learn(fabricated.dataset(samples), encoded, recipe, seed=0, device=CPU)
    assert "learning_rate" in str(caught.value)


def test_a_huge_learning_rate_is_found_out() -> None:
    with pytest.raises(DataError, match=r"(loss|gradient) is (nan|inf)"):
        trained(fabricated.small(epochs=30, learning_rate=1e30))


def test_a_gradient_that_is_no_number_ends_it_even_in_the_last_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(logits: torch.Tensor, *more: Any) -> torch.Tensor:
        nothing = (logits * 0).sum(dim=1)
        return losses_of(logits, *more) + nothing.sqrt()  # 0, and its slope is 0 times infinity

    monkeypatch.setattr("vmm_cli.training.objectives.classes.losses_of", broken)
    samples, encoded = fabricated.data()
    samples = [replace(s, split="train") for s in samples]
    with pytest.raises(DataError, match="gradient is nan in epoch 1, batch 1 of 1") as caught:
        learn(
            fabricated.dataset(samples),
            encoded,
            fabricated.small(epochs=1, batch=100),
            seed=0,
            device=CPU,
        )
    assert "learning_rate" in str(caught.value)


@pytest.mark.parametrize("several", [False, True])
def test_the_loss_on_val_is_the_one_that_is_trained_on(several: bool) -> None:
    draw = np.random.default_rng(0)
    truth = torch.from_numpy(draw.integers(0, 2, (6, 3)).astype(np.float32))
    logits = torch.from_numpy(draw.normal(size=(6, 3)).astype(np.float32))
    weight = torch.tensor([10.0, 1.0, 0.2])
    targets = Targets(truth if several else truth.argmax(dim=1), weight)
    _, encoded = fabricated.data(6)
    windows = examples(encoded, range(6), ["image", "motion"], tokens_from({}))

    class Fixed(torch.nn.Module):
        def forward(self, *seen: Any) -> torch.Tensor:
            return logits

    wanted = one_hot(targets, np.arange(6))
    losses = losses_of(logits, wanted, targets, smoothing=0.0)
    # Of one label each: the mean weighted by the labels' weights, which is only a constant factor.
    expected = losses.mean() if several else losses.sum() / weight[targets.truth].sum()
    found = _held_out(Fixed(), windows, targets, CPU)["val_loss"]
    assert found == pytest.approx(float(expected), rel=1e-5)


# --- the learning rate and what decays ----------------------------------------------------------


def test_the_learning_rate_rises_then_falls_to_nothing() -> None:
    recipe = Optimisation(learning_rate=2.0, warmup=0.1)
    rates = [_learning_rate(step, 100, recipe) for step in range(100)]
    assert rates[:10] == pytest.approx([0.2 * i for i in range(1, 11)])
    assert rates[10] == 2.0
    assert rates[55] == pytest.approx(1.0)
    assert all(a >= b for a, b in pairwise(rates[10:]))
    assert rates[-1] < 0.01
    assert _learning_rate(0, 1, recipe) == 2.0  # one step in all


def test_matrices_decay_and_blocks_of_the_encoder_move_less() -> None:
    network = torch.nn.ModuleDict({"tail": torch.nn.Linear(2, 2), "head": torch.nn.Linear(2, 2)})
    groups = _parameter_groups(network, 0.1)
    told = {(g["weight_decay"], g["part"]): [p.ndim for p in g["params"]] for g in groups}
    assert told == {(0.1, 1): [2], (0, 1): [1], (0.1, TAIL_PART): [2], (0, TAIL_PART): [1]}


# --- what changes a batch -----------------------------------------------------------------------


def test_streams_are_dropped_but_never_the_last_one() -> None:
    draw = np.random.default_rng(0)
    masks = {s: torch.ones(400, 3, dtype=torch.bool) for s in ("image", "audio")}
    masks["audio"][:100] = False  # these have only their pictures
    drop_streams(masks, 0.5, draw)
    left = torch.stack([mask.any(dim=1) for mask in masks.values()])
    assert left.any(dim=0).all()
    assert left[0, :100].all()
    assert 0.4 < left[0, 100:].float().mean() < 0.8
    assert all((mask.any(dim=1) == mask.all(dim=1)).all() for mask in masks.values())


def test_nothing_is_dropped_of_one_stream() -> None:
    masks = {"image": torch.ones(9, 3, dtype=torch.bool)}
    drop_streams(masks, 0.9, np.random.default_rng(0))
    assert masks["image"].all()


def test_rows_are_mixed_in_what_is_seen_and_what_is_right() -> None:
    values = {"image": torch.eye(4)[:, None].repeat(1, 2, 1), "text": torch.arange(4)[:, None]}
    masks = {s: torch.ones(4, 2, dtype=torch.bool) for s in values}
    masks["image"][0] = False
    mixed, wanted = mix(values, masks, torch.eye(4), 0.5, np.random.default_rng(3))
    assert torch.equal(mixed["text"], values["text"])
    assert (mixed["image"][0] == 0).all(), "what is not there is not mixed in"
    there = mixed["image"][1:, 0]
    assert torch.allclose(wanted.sum(dim=1), torch.ones(4))
    assert (wanted.diagonal() >= 0.5).all()
    rows = [i for i in range(3) if wanted[i + 1, 0] == 0]  # those not mixed with row 0
    assert torch.allclose(there[rows], wanted[1:][rows])


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 6), likely=st.floats(0, 1))
def test_a_target_is_mixed_where_some_value_was(seed: int, rows: int, likely: float) -> None:
    draw = np.random.default_rng(seed)
    values = {
        "image": torch.from_numpy(draw.normal(size=(rows, 3, 2))),
        "audio": torch.from_numpy(draw.normal(size=(rows, 3, 1, 2, 2))),
        "text": torch.from_numpy(draw.integers(0, 99, (rows, 3))),
    }
    masks = {s: torch.from_numpy(draw.random((rows, 3)) < likely) for s in values}
    wanted = torch.eye(rows)
    mixed, target = mix(values, masks, wanted, 5.0, draw)  # shares well below 1
    changed = torch.zeros(rows, dtype=torch.bool)
    for stream in ("image", "audio"):
        mask = masks[stream].reshape(*masks[stream].shape, *[1] * (values[stream].ndim - 2))
        before = torch.where(mask, values[stream], 0)
        # Mixed with itself a row changes by rounding alone.
        changed |= ((mixed[stream] - before).abs() > 1e-9).flatten(1).any(dim=1)
    assert torch.equal((target != wanted).any(dim=1), changed)
    assert torch.allclose(target.sum(dim=1), torch.ones(rows))


def test_tokens_alone_are_not_mixed_and_nor_are_targets() -> None:
    values, masks = {"text": torch.arange(8)[:, None]}, {"text": torch.ones(8, 1).bool()}
    mixed, target = mix(values, masks, torch.eye(8), 0.5, np.random.default_rng(0))
    assert torch.equal(mixed["text"], values["text"])
    assert torch.equal(target, torch.eye(8))


# --- several processes --------------------------------------------------------------------------

SHARES = """
import json, sys
import torch
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo")
from tests.training import fabricated
from tests.training.test_loop import trained, weights
recipe = fabricated.small(("image",), "dropout=0", epochs=6, batch=5)
learnt = trained(recipe)
flat = torch.cat([w.float().flatten() for w in weights(learnt).values()])
out = {"weights": flat.tolist(), "accuracy": learnt.history[-1]["val_accuracy"]}
if torch.distributed.get_rank() == 0:
    open(sys.argv[1], "w").write(json.dumps(out))
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    script, out = tmp_path / "shares.py", tmp_path / "out.json"
    script.write_text(SHARES)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run = ["torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)]
    subprocess.run(
        [sys.executable, "-m", *run, str(script), str(out)],
        check=True,
        timeout=120,
        capture_output=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    found = json.loads(out.read_text())
    alone = trained(fabricated.small(("image",), "dropout=0", epochs=6, batch=5))
    flat = torch.cat([w.float().flatten() for w in weights(alone).values()])
    assert found["accuracy"] == alone.history[-1]["val_accuracy"]
    torch.testing.assert_close(torch.tensor(found["weights"]), flat, atol=1e-4, rtol=1e-3)
    assert math.isfinite(sum(found["weights"]))
