"""A training in the middle, on disk."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch

from tests.training import fabricated
from vmm_cli.errors import DataError, OutputError
from vmm_cli.training import learn as learning
from vmm_cli.training.checkpoint import load_checkpoint, save_checkpoint
from vmm_cli.training.learn import learn
from vmm_cli.training.learnt import Learnt
from vmm_cli.training.loop import Progress, begin
from vmm_cli.training.recipe import Recipe


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(learning, "CHECKPOINT_EACH_S", 0.0)


class Stopped(Exception):
    """What ends a training in the middle, in place of a power cut."""


def train(recipe: Recipe, checkpoint: Path | None, stop_after: int | None = None) -> Learnt:
    samples, encoded = fabricated.data()

    def after(progress: Progress) -> None:
        if progress.epoch == stop_after:
            raise Stopped

    return learn(
        fabricated.dataset(samples),
        encoded,
        recipe,
        seed=7,
        device=torch.device("cpu"),
        checkpoint=checkpoint,
        on_epoch=after,
    )


@pytest.mark.parametrize("wanted", [{}, {"ema": 0.8, "mixup": 0.2}], ids=["plain", "averaged"])
def test_a_training_that_was_stopped_goes_on_as_if_it_never_had_been(
    tmp_path: Path, wanted: dict[str, float]
) -> None:
    recipe = fabricated.small(epochs=9, **wanted)
    path = tmp_path / "model.safetensors"
    for epoch in (2, 5):
        with pytest.raises(Stopped):
            train(recipe, path, stop_after=epoch)
    resumed, whole = train(recipe, path), train(recipe, None)
    assert len(resumed.history) == 9
    assert resumed.best_epoch == whole.best_epoch
    for one, other in zip(resumed.history, whole.history, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def progress(width: int = 4) -> Progress:
    torch.manual_seed(0)
    return begin(torch.nn.Linear(width, 2), fabricated.small().optimisation)


def stepped(progress: Progress) -> Progress:
    progress.network(torch.ones(1, 4)).sum().backward()
    progress.optimiser.step()
    progress.epoch = 3
    return progress


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    before, after = stepped(progress()), progress()
    save_checkpoint(tmp_path / "c", before)
    load_checkpoint(tmp_path / "c", after)
    assert after.epoch == 3
    assert after.best == {} and after.best_loss == float("inf")
    assert torch.equal(before.network.weight, after.network.weight)
    torch.testing.assert_close(
        after.optimiser.state_dict(), before.optimiser.state_dict(), rtol=0, atol=0
    )


def test_a_full_disk_is_told_and_leaves_what_was_there(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c", stepped(progress()))
    before = (tmp_path / "c").read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            save_checkpoint(tmp_path / "c", stepped(stepped(progress())))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("c", before)]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: b"\x80\x04K\x01.",
        lambda data: data.replace(b"vmm.checkpoint/1", b"vmm.checkpoint/9"),
    ],
    ids=["empty", "cut", "pickle", "newer"],
)
def test_a_damaged_file_is_refused(tmp_path: Path, damage) -> None:
    path = tmp_path / "c"
    save_checkpoint(path, stepped(progress()))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match="c: "):
        load_checkpoint(path, progress())


def test_the_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c", stepped(progress()))
    with pytest.raises(DataError, match="cannot be gone on from"):
        load_checkpoint(tmp_path / "c", progress(width=5))
