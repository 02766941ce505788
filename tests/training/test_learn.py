"""From encoded samples to a network: shapes, targets, streams that are absent, text."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from tests.training import fabricated
from vmm_cli.bundles.weights import weights_of
from vmm_cli.errors import DataError
from vmm_cli.features.grid import Window
from vmm_cli.features.image_stream import carried, tensor_prefix
from vmm_cli.features.windows import Encoded, WindowFeatures
from vmm_cli.inference.examples import examples, tokens_from
from vmm_cli.inference.in_torch import batch_of, network_from
from vmm_cli.networks.image_tail import NetworkWithTail
from vmm_cli.training.data.samples import Sample
from vmm_cli.training.graphs import graphs_of_run
from vmm_cli.training.learn import learn
from vmm_cli.training.learnt import Learnt
from vmm_cli.training.objectives.classes import targets_of
from vmm_cli.training.read_recipe import load_recipe
from vmm_cli.training.recipe import Recipe
from vmm_cli.training.tasks.classes import judged

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")


def learnt(
    samples: list[Sample], encoded: list[Encoded], recipe: Recipe, *, multi_label: bool = False
) -> Learnt:
    data = fabricated.dataset(samples, multi_label=multi_label)
    return learn(data, encoded, recipe, seed=0, device=CPU)


def test_what_is_said_of_the_network_builds_it_again() -> None:
    samples, encoded = fabricated.data()
    made = learnt(samples, encoded, fabricated.small())
    assert made.about["kind"] == "fusion"
    assert [s["width"] for s in made.about["streams"]] == [6, 10]
    again = network_from(made.about)
    again.load_state_dict(made.fusion.state_dict())
    shown = examples(encoded, range(len(encoded)), ["image", "motion"])
    batch = batch_of(shown, np.arange(len(encoded)), CPU)
    assert torch.equal(again.eval()(*batch), made.network(*batch))


def test_the_windows_of_a_sample_are_averaged() -> None:
    samples, encoded = fabricated.data()
    made = learnt(samples, encoded, fabricated.small())
    long = Encoded((*encoded[0].windows, *encoded[1].windows, *encoded[2].windows), "")
    each = np.stack([one.probabilities for one in judged(made, encoded[:3], CPU)])
    whole = np.stack([one.probabilities for one in judged(made, [long, encoded[5]], CPU)])
    np.testing.assert_allclose(whole[0], each.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(whole.sum(axis=1), 1)


def test_a_long_sample_counts_as_much_as_a_short_one() -> None:
    encoded = [fabricated.encoded(0, 1.0, windows=5), fabricated.encoded(1, 1.0)]
    shown = examples(encoded, [3, 8], ["image"])
    assert shown.sample.tolist() == [3] * 5 + [8]
    assert [shown.weight[shown.sample == s].sum() for s in (3, 8)] == pytest.approx([1, 1])


def test_rare_labels_weigh_more_and_not_without_end() -> None:
    labels = ["a"] * 30 + ["b"] * 10 + ["c"]
    samples = [fabricated.sample(i, label) for i, label in enumerate(labels)]
    weights = targets_of(samples, ["a", "b", "c"], False, range(len(samples))).class_weight
    assert weights.tolist() == pytest.approx([41 / 90, 41 / 30, 10])
    assert targets_of(samples, ["a", "b", "c"], False).class_weight.tolist() == [1, 1, 1]


def test_several_labels_a_sample() -> None:
    truth = targets_of(
        [fabricated.sample(0, "a|c"), fabricated.sample(1, "b")], ["a", "b", "c"], True
    ).truth
    assert truth.tolist() == [[1, 0, 1], [0, 1, 0]]
    samples, encoded = fabricated.data()
    samples = [replace(s, labels=("any", *s.labels)) for s in samples]
    made = learnt(samples, encoded, fabricated.small(epochs=30), multi_label=True)
    chances = np.stack([one.probabilities for one in judged(made, encoded, CPU)])
    assert (chances[:, 0] > 0.5).all()
    right = [(chances[i, 1] > 0.5) == ("fight" in s.labels) for i, s in enumerate(samples)]
    assert all(right)


def test_a_stream_that_is_absent_from_some_samples_or_all_is_no_obstacle() -> None:
    samples, encoded = fabricated.data(streams=("image", "audio"))
    for i in range(0, 24, 3):
        encoded[i] = fabricated.encoded(
            i, 1.0 if i % 2 else -1.0, ("image", "audio"), absent=("audio",)
        )
    made = learnt(samples, encoded, fabricated.small(("image", "audio"), epochs=20))
    assert made.history[-1]["val_accuracy"] == 1
    samples, encoded = fabricated.data(streams=("image", "audio"), absent=("audio",))
    made = learnt(samples, encoded, fabricated.small(("image", "audio"), epochs=20))
    assert made.history[-1]["val_accuracy"] == 1


def test_words_are_learnt_and_unknown_ones_are_no_obstacle() -> None:
    samples, encoded = fabricated.data(40, streams=())
    said = ["two men hit each other", "people walk in the street"]
    encoded = [replace(one, text=f"{said[i % 2]} {i}") for i, one in enumerate(encoded)]
    made = learnt(samples, encoded, fabricated.small(("text",), epochs=30))
    assert max(row["val_accuracy"] for row in made.history) == 1
    tokens = tokens_from(made.about)
    assert tokens is not None and tokens("hit zebra").min() == 1  # the unknown word
    assert "3" not in made.about["vocabulary"], "words of validation are not known"


def test_there_must_be_something_to_learn_from() -> None:
    samples, encoded = fabricated.data(4)
    samples = [replace(s, split="val") for s in samples]
    with pytest.raises(DataError, match="no sample is left"):
        learnt(samples, encoded, fabricated.small())


def test_the_last_blocks_of_the_image_encoder_learn_with_the_rest() -> None:
    draw = np.random.default_rng(0)
    samples, encoded = [], []
    for i in range(8):
        values = draw.normal(size=(2, 192 * 7 * 7)).astype(np.float32) * 0.1
        values[:, ::2] += 0.3 * (i % 2)
        window = WindowFeatures(
            Window(Fraction(0), Fraction(1)),
            np.array([0, 0.5]),
            {"image": values},
            {"image": np.ones(2, bool)},
        )
        samples.append(fabricated.sample(i, fabricated.LABELS[i % 2], "val" if i > 5 else "train"))
        encoded.append(Encoded((window,), ""))
    recipe = load_recipe(
        "frames", ["streams.image.train_last=1", "width=8", "optimisation.epochs=3"]
    )
    made = learnt(samples, encoded, recipe)
    assert isinstance(made.network, NetworkWithTail) and made.tail is not None
    assert made.about["streams"][0]["width"] == 1280
    from vmm_cli.features.trained_image import learnt_encoder, load_tail

    before = load_tail("efficientnet-lite0", 1).state_dict()
    after = made.tail.state_dict()
    assert before.keys() == after.keys()
    moved = {name.split(".")[-1] for name in after if not torch.equal(after[name], before[name])}
    assert "weight" in moved
    assert not moved & {"running_mean", "running_var"}, "statistics are kept"
    chances = np.stack([one.probabilities for one in judged(made, encoded, CPU)])
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    # Both graphs are tried with what they are written for.
    spec, own = learnt_encoder(carried("imagenet"), made.tail)
    tensors = {f"network.{k}": v.numpy() for k, v in made.fusion.state_dict().items()}
    tensors |= {f"{tensor_prefix('image')}{k}": v for k, v in own.items()}
    weights = weights_of(save(tensors))
    graphs = graphs_of_run(made, {"image": spec}, tensors, encoded[:2])
    assert graphs.keys() == {"network", "image"}
    assert all(make(weights) for make in graphs.values())
