"""A linear probe: its network says what was solved for, and its streams are chosen inside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from tests.training import fabricated
from vmm_cli.features.windows import Encoded
from vmm_cli.inference.examples import examples
from vmm_cli.networks.frontends import change
from vmm_cli.training.data.samples import Sample
from vmm_cli.training.learn import learn
from vmm_cli.training.learnt import Learnt
from vmm_cli.training.objectives.classes import targets_of
from vmm_cli.training.probe import STRENGTH, _solve
from vmm_cli.training.read_recipe import load_recipe
from vmm_cli.training.recipe import Recipe
from vmm_cli.training.tasks.classes import judged

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")


def recipe(*changes: str) -> Recipe:
    return load_recipe("few", changes)


def probed(
    samples: list[Sample], encoded: list[Encoded], recipe: Recipe, *, multi_label: bool = False
) -> Learnt:
    data = fabricated.dataset(samples, multi_label=multi_label)
    return learn(data, encoded, recipe, seed=0, device=CPU)


def noisy_image(count: int = 24) -> tuple[list[Sample], list[Encoded]]:
    """Samples whose motion tells their label, and whose pictures tell nothing but are loud."""
    samples, found = fabricated.data(count)
    draw = np.random.default_rng(5)
    for one in found:
        for window in one.windows:
            window.values["image"][:] = draw.normal(size=window.values["image"].shape)
            window.values["motion"][1::2] *= 3  # what changes tells it too
    return samples, found


def test_it_chooses_the_streams_that_tell_the_labels_and_leaves_the_others_out() -> None:
    samples, encoded = noisy_image()
    asked = recipe("streams.motion.front_end=identity-change")
    made = probed(samples, encoded, asked)
    assert "image" not in made.recipe.streams and "motion" in made.recipe.streams
    assert [stream["name"] for stream in made.about["streams"]] == list(made.recipe.streams)
    assert made.compared is not None and made.compared["parts"] == 5
    tried = made.compared["views"]
    assert len(tried) == 9, "four views: all, all but one, each alone"
    losses = [one["loss"] for one in tried]
    assert losses == sorted(losses)
    assert tried[0]["streams"] == {s: m.front_end for s, m in made.recipe.streams.items()}
    assert made.history[0]["val_accuracy"] == 1
    chances = np.stack([one.probabilities for one in judged(made, encoded, CPU)])
    assert (chances.argmax(1) == [i % 2 for i in range(24)]).all()


def test_the_network_says_what_a_logistic_regression_would() -> None:
    samples, encoded = fabricated.data(16, streams=("motion",))
    made = probed(samples, encoded, recipe("streams={motion: {front_end: change}}"))
    assert made.compared == {"parts": 0, "views": []}, "one view leaves nothing to compare"
    shown = examples(encoded, range(16), ["motion"])
    mean = []
    for values in shown.values["motion"]:
        x = torch.from_numpy(values)[None]
        mean.append(change(x, torch.ones(1, len(values), dtype=torch.bool))[0].mean(0).numpy())
    x = np.array(mean, np.float64)
    learnt = [i for i in range(16) if samples[i].split == "train"]
    x = (x - x[learnt].mean(0)) / x[learnt].std(0) / x.shape[1] ** 0.5
    truth = np.array([i % 2 for i in range(16)])
    # Of two labels the weights of one are those of the other with the sign changed.
    model = LogisticRegression(C=2 * STRENGTH, class_weight="balanced", tol=1e-10, max_iter=1000)
    model.fit(x[learnt], truth[learnt])
    chances = np.stack([one.probabilities for one in judged(made, encoded, CPU)])
    np.testing.assert_allclose(chances, model.predict_proba(x), atol=1e-4)


def test_more_features_than_samples_are_solved_as_well_as_fewer() -> None:
    draw = np.random.default_rng(0)
    few = torch.from_numpy(draw.normal(size=(12, 5)))
    turned, _ = np.linalg.qr(draw.normal(size=(40, 40)))
    many = few @ torch.from_numpy(turned[:5])  # the same, in more dimensions
    samples = [fabricated.sample(i, "abc"[i % 3]) for i in range(12)]
    targets = targets_of(samples, ["a", "b", "c"], False)
    shown = examples([fabricated.encoded(i, 0) for i in range(12)], range(12), ["image"])
    at_once, bias = _solve(few, shown, targets)
    lifted, other = _solve(many, shown, targets)
    assert torch.allclose(few @ at_once.T + bias, many @ lifted.T + other, atol=1e-4)


def test_an_absent_stream_counts_for_nothing() -> None:
    samples, encoded = fabricated.data(streams=("image", "motion"))
    for i in (0, 1, 4, 5):
        encoded[i] = fabricated.encoded(i, 1.0 if i % 2 else -1.0, absent=("motion",))
    made = probed(samples, encoded, recipe("streams.motion.front_end=identity"))
    chances = np.stack([one.probabilities for one in judged(made, encoded, CPU)])
    assert (chances.argmax(1) == [i % 2 for i in range(24)]).all()


def test_several_labels_a_sample_and_several_windows() -> None:
    samples, encoded = fabricated.data(16)
    encoded = [
        Encoded((*one.windows, *fabricated.encoded(90 + i, 1.0 if i % 2 else -1.0).windows), "")
        for i, one in enumerate(encoded)
    ]
    samples = [replace(s, labels=("any", *s.labels)) for s in samples]
    made = probed(samples, encoded, recipe(), multi_label=True)
    chances = np.stack([one.probabilities for one in judged(made, encoded, CPU)])
    assert (chances[:, 0] > 0.5).all()
    assert ((chances[:, 1] > 0.5) == ["fight" in s.labels for s in samples]).all()


@pytest.mark.parametrize(
    "labels_of",
    [
        pytest.param(lambda i: fabricated.LABELS[0 if i else 1], id="one sample of a label"),
        pytest.param(lambda i: fabricated.LABELS[i % 2], id="contradicting labels"),
    ],
)
def test_what_cannot_be_compared_is_learnt_from_all_the_same(
    labels_of: Callable[[int], str],
) -> None:
    samples = [fabricated.sample(i, labels_of(i)) for i in range(8)]
    encoded = [fabricated.encoded(i // 2, 0.0) for i in range(8)]  # two of each, alike
    made = probed(samples, encoded, recipe())
    chances = np.stack([one.probabilities for one in judged(made, encoded, CPU)])
    assert np.isfinite(chances).all()
    if samples[0].labels == samples[2].labels:  # the same clip has both labels
        np.testing.assert_allclose(chances, 0.5, atol=0.02)
    else:
        assert made.compared == {"parts": 0, "views": []} and len(made.recipe.streams) == 2


def test_groups_are_left_out_whole_or_nothing_is_compared() -> None:
    samples, encoded = fabricated.data(16)
    samples = [replace(s, group=s.labels[0], split="train") for s in samples]
    made = probed(samples, encoded, recipe())
    assert made.compared == {"parts": 0, "views": []}
    samples = [replace(s, group=f"{i // 4}") for i, s in enumerate(samples)]
    made = probed(samples, encoded, recipe())
    assert made.compared is not None and made.compared["parts"] == 4
