"""Learning valence and emotions, from features that were never in a video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training import fabricated
from vmm_cli.analysis.sentiment.evidence import valence_of
from vmm_cli.features.windows import Encoded
from vmm_cli.inference.examples import examples
from vmm_cli.training.data.read_valence import VALENCE
from vmm_cli.training.data.samples import Sample
from vmm_cli.training.learn import learn
from vmm_cli.training.learnt import Learnt
from vmm_cli.training.loop import Objective
from vmm_cli.training.objectives.valence import ratings_of, valence_objective
from vmm_cli.training.predictions import predict
from vmm_cli.training.recipe import Optimisation, Recipe
from vmm_cli.training.tasks.valence import ratings, without_empty

CPU = torch.device("cpu")
EMOTIONS = ("anger", "happiness")
pytestmark = pytest.mark.usefixtures("one_thread")


def recipe(*overrides: str, **optimisation: object) -> Recipe:
    return fabricated.small(("image", "motion"), "head=valence", *overrides, **optimisation)


def data(
    count: int = 32, *, valences: bool = True, emotions: Sequence[str] = EMOTIONS
) -> tuple[list[Sample], list[Encoded]]:
    """What is seen lies around the valence; half are of either emotion, below 0 and above."""
    samples, found = [], []
    for i in range(count):
        valence = (i % 16) / 8 - 0.9375
        labels = (emotions[int(valence > 0)],) if emotions else ()
        split = "val" if i % 4 == 3 else "train"
        one = fabricated.sample(i, "x", split)
        samples.append(replace(one, labels=labels, valence=valence if valences else None))
        found.append(fabricated.encoded(i, 2 * valence))
    return samples, found


def learnt(samples: list[Sample], encoded: list[Encoded], wanted: Recipe | None = None) -> Learnt:
    wanted = wanted or recipe(epochs=30)
    return learn(fabricated.dataset(samples, VALENCE), encoded, wanted, seed=0, device=CPU)


def test_valence_and_emotions_are_learnt_together() -> None:
    samples, encoded = data()
    made = learnt(samples, encoded)
    assert made.about["head"] == "valence" and made.about["outputs"] == 2
    said = np.stack(ratings(made, encoded, CPU))
    true = np.array([sample.valence for sample in samples])
    assert np.abs(said[:, 0] - true).mean() < 0.2
    assert (said[:, 1:].argmax(axis=1) == (true > 0)).mean() > 0.9
    np.testing.assert_allclose(said[:, 1:].sum(axis=1), 1)
    assert {"val_loss", "val_mae", "val_accuracy"} <= made.history[0].keys()
    assert made.best_epoch == min(made.history, key=lambda row: row["val_loss"])["epoch"]
    whole = fabricated.dataset(samples, VALENCE)
    metrics = predict(made, whole, encoded, "val", CPU).metrics
    assert metrics["valence"]["n"] == metrics["emotions"]["n"] == 8
    assert metrics["valence"]["pearson"] > 0.9 and metrics["emotions"]["uar"] > 0.7


def test_valences_alone_are_enough() -> None:
    samples, encoded = data(emotions=())
    made = learnt(samples, encoded)
    assert made.about["outputs"] == 0 and made.about["valence_from"] == "ratings"
    said = np.stack(ratings(made, encoded, CPU))
    assert said.shape == (32, 1)
    assert np.corrcoef(said[:, 0], [s.valence for s in samples])[0, 1] > 0.95
    assert "val_accuracy" not in made.history[0]


def test_from_emotions_alone_follows_the_valence_of_the_table() -> None:
    samples, encoded = data(valences=False)
    made = learnt(samples, encoded)
    assert made.about["valence_from"] == "emotions"
    said = np.stack(ratings(made, encoded, CPU))
    np.testing.assert_allclose(said[:, 0], valence_of(said[:, 1:], EMOTIONS), atol=1e-6)
    assert "val_mae" not in made.history[0]


def test_emotions_of_other_names_have_no_valence() -> None:
    samples, encoded = data(valences=False, emotions=("down", "up"))
    made = learnt(samples, encoded, recipe(epochs=1))
    assert made.about["valence_from"] == "nothing"
    assert np.isnan(np.stack(ratings(made, encoded, CPU))[:, 0]).all()


def test_what_a_sample_lacks_has_no_part_in_the_loss() -> None:
    """Half have a valence, half an emotion: both are learnt all the same."""
    samples, encoded = data(64)
    half = [
        replace(s, valence=None) if i // 4 % 2 else replace(s, labels=())
        for i, s in enumerate(samples)
    ]
    said = np.stack(ratings(learnt(half, encoded), encoded, CPU))
    true = np.array([sample.valence for sample in samples])
    assert np.corrcoef(said[:, 0], true)[0, 1] > 0.9
    assert (said[:, 1:].argmax(axis=1) == (true > 0)).mean() > 0.85


# --- the loss ----------------------------------------------------------------------------------


class Says(torch.nn.Module):
    """Says the same of every window: valence 0.5, and logits that favour the first emotion."""

    def __init__(self) -> None:
        super().__init__()
        self.said = torch.nn.Parameter(torch.tensor([0.5, 1.0, 0.0]))

    def forward(self, values: dict, masks: dict, grid: torch.Tensor) -> torch.Tensor:
        return self.said.expand(len(grid), 3)


def objective(
    samples: list[Sample], held_out: bool = False, weigh: bool = False, **changed: object
) -> Objective:
    shown = examples(
        [fabricated.encoded(i, 0.0) for i in range(len(samples))], range(len(samples)), ["image"]
    )
    truth = ratings_of(samples, EMOTIONS, range(len(samples)) if weigh else [])
    recipe = replace(Optimisation(stream_dropout=0), **changed)
    return valence_objective(shown, shown if held_out else None, truth, recipe)


def rated(number: int, valence: float | None, emotion: str | None) -> Sample:
    labels = (emotion,) if emotion else ()
    return replace(fabricated.sample(number, "x"), labels=labels, valence=valence)


def loss_of(samples: list[Sample], **changed: object) -> float:
    rows = np.arange(len(samples))
    made = objective(samples, **changed)
    loss, counted = made.loss(Says(), rows, np.random.default_rng(0), CPU)
    assert counted == pytest.approx(len(samples))
    return float(loss.detach())


FIRST, SECOND = -np.log(np.e / (np.e + 1)), -np.log(1 / (np.e + 1))  # cross-entropies of `Says`


def test_each_loss_is_the_mean_over_those_that_have_it() -> None:
    """Errors of 0.1 and 0.5 cost 0.1² / (2 · 0.25) and 0.5 - 0.25 / 2."""
    off = (0.02 + 0.375) / 2
    both = [rated(0, 0.4, None), rated(1, 1.0, "anger"), rated(2, None, "happiness")]
    assert loss_of(both) == pytest.approx(off + (FIRST + SECOND) / 2, abs=1e-6)
    assert loss_of(both, valence_weight=3.0) == pytest.approx(
        3 * off + (FIRST + SECOND) / 2, abs=1e-6
    )
    assert loss_of(both[:1]) == pytest.approx(0.02, abs=1e-6)
    assert loss_of(both[2:]) == pytest.approx(SECOND, abs=1e-6)


def test_rare_emotions_count_more() -> None:
    samples = [rated(i, None, "anger") for i in range(3)] + [rated(3, None, "happiness")]
    assert loss_of(samples) == pytest.approx((3 * FIRST + SECOND) / 4, abs=1e-6)
    assert loss_of(samples, weigh=True) == pytest.approx((FIRST + SECOND) / 2, abs=1e-6)


def test_what_is_held_out_has_the_loss_of_training() -> None:
    samples = [rated(0, 0.4, None), rated(1, 1.0, "anger"), rated(2, None, "happiness")]
    made = objective(samples, held_out=True, weigh=True)
    assert made.held_out is not None
    seen = made.held_out(Says(), CPU)
    assert seen["val_loss"] == pytest.approx(loss_of(samples, weigh=True), abs=1e-6)
    assert seen["val_mae"] == pytest.approx(0.3, abs=1e-6)
    assert seen["val_accuracy"] == 0.5


def test_shares_of_a_batch_add_up_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [rated(i, i / 10 if i % 3 else None, EMOTIONS[i % 2]) for i in range(7)]
    whole = loss_of(samples, weigh=True)
    parts = []
    for mine in (slice(0, 3), slice(3, 7), slice(7, 7)):
        monkeypatch.setattr(f"{valence_objective.__module__}.share", lambda rows, mine=mine: mine)
        parts.append(loss_of(samples, weigh=True))
    assert sum(parts) == pytest.approx(whole, abs=1e-6)


def test_windows_in_which_nothing_is_there_say_nothing() -> None:
    seen, empty = fabricated.encoded(0, 1.0), fabricated.encoded(1, 1.0, absent=("image", "motion"))
    both = Encoded((*empty.windows, *seen.windows), "")
    assert without_empty(both).windows == seen.windows
    assert without_empty(replace(both, text="said")).windows == both.windows
