"""To learn when what happens: what is right at each place, the losses, and whole trainings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training import fabricated
from vmm_cli.features.grid import Window, grid_times
from vmm_cli.features.windows import Encoded, WindowFeatures
from vmm_cli.inference.examples import Examples, examples, tokens_from
from vmm_cli.inference.in_torch import step_network
from vmm_cli.inference.network import fused_steps
from vmm_cli.networks.pyramid import anchor_points
from vmm_cli.training import learn as learning
from vmm_cli.training.data.read_segments import SEGMENTS
from vmm_cli.training.data.samples import Sample, Segment, labels_of
from vmm_cli.training.learn import learn
from vmm_cli.training.learnt import Learnt
from vmm_cli.training.loop import Progress
from vmm_cli.training.objectives.segments import (
    TimedExamples,
    _distance_iou,
    _focal,
    places_wanted,
    steps_wanted,
    timed_examples,
    timed_objective,
)
from vmm_cli.training.read_recipe import load_recipe
from vmm_cli.training.recipe import Recipe
from vmm_cli.training.tasks.segments import found_in

CPU = torch.device("cpu")
RATE_HZ = 4
LABELS = ("a", "b")
WIDTHS = {"motion": 6, "image": 5}


@pytest.fixture(autouse=True)
def quick(one_thread: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """These networks are small; checkpoints come with every epoch."""
    monkeypatch.setattr(learning, "CHECKPOINT_EACH_S", 0.0)


def timed(*spans: tuple[float, float, int], steps: int = 32, outputs: int = 2) -> TimedExamples:
    """One video of so many steps, with actions (begin, end, label) in steps."""
    values = {"motion": [np.zeros((steps, 6), np.float32)]}
    masks = {"motion": [np.ones(steps, bool)]}
    one = Examples(values, masks, np.array([steps]), np.zeros(1, int), np.ones(1, np.float32))
    begins_ends = np.array([[begin, end] for begin, end, _ in spans], float).reshape(-1, 2)
    found = [np.array([n for *_, n in spans], int)]
    return TimedExamples(one, [begins_ends], found, outputs, np.zeros(1, bool))


def wanted(
    data: TimedExamples, levels: int, first: int = 0, steps: int = 32
) -> list[tuple[float, float, tuple[int, ...], tuple[float, float]]]:
    """Return (place, stride, labels, ways) of the places that something is right at."""
    at, strides = (x.numpy() for x in anchor_points(steps, levels))
    labels, ways = places_wanted(data, 0, first, at, strides, levels)
    assert labels.dtype == ways.dtype == np.float32
    return [
        (float(at[i]), float(strides[i]), tuple(np.flatnonzero(labels[i])), tuple(ways[i].tolist()))
        for i in np.flatnonzero(labels.any(axis=1))
    ]


# --- what is right at each place ----------------------------------------------------------------


def test_a_short_action_is_for_the_finest_scale() -> None:
    """[9.5, 12.5): the middle is 11; no place for it is further away than 1.5 strides."""
    assert wanted(timed((9.5, 12.5, 1)), levels=3) == [
        (10, 1, (1,), (0.5, 2.5)),
        (11, 1, (1,), (1.5, 1.5)),
        (12, 1, (1,), (2.5, 0.5)),
    ]


def test_a_longer_action_is_for_coarser_scales() -> None:
    """[8.5, 20.5): the longer way is for strides of 2 from 4 on, for strides of 4 from 8 on."""
    assert wanted(timed((8.5, 20.5, 0)), levels=4) == [
        (14, 2, (0,), (5.5, 6.5)),
        (16, 2, (0,), (7.5, 4.5)),
        (12, 4, (0,), (3.5, 8.5)),
        (20, 4, (0,), (11.5, 0.5)),
    ]


def test_the_coarsest_scale_has_all_that_is_long() -> None:
    assert wanted(timed((-100, 200, 0)), levels=2) == [], "its middle is not in what is seen"
    long = wanted(timed((-100, 130, 0)), levels=2)
    assert [(at, stride) for at, stride, *_ in long] == [(12, 2), (14, 2), (16, 2), (18, 2)]
    assert long[0][3] == (112, 118)
    one_scale = wanted(timed((-100, 130, 0)), levels=1)
    assert [at for at, *_ in one_scale] == [14, 15, 16]


def test_where_two_overlap_the_shorter_says_the_ways() -> None:
    both = wanted(timed((4, 7, 0), (5, 7.5, 1), (5.5, 7, 1)), levels=1)
    assert (6.0, 1.0, (0, 1), (0.5, 1.0)) in both
    assert (5.0, 1.0, (0, 1), (0.0, 2.5)) in both
    # In whatever order they come.
    assert both == wanted(timed((5.5, 7, 1), (5, 7.5, 1), (4, 7, 0)), levels=1)


def test_a_piece_counts_from_its_own_begin() -> None:
    data = timed((9.5, 12.5, 1))
    whole = wanted(data, levels=1)
    piece = wanted(data, levels=1, first=8, steps=12)
    assert piece == [(at - 8, *rest) for at, *rest in whole]
    # What is cut by the begin of the piece has its own begin before it.
    assert wanted(data, levels=1, first=11, steps=12)[0] == (0, 1, (1,), (1.5, 1.5))


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.floats(-20, 80), st.floats(0.5, 90), st.integers(0, 2)), min_size=1, max_size=6
    ),
    st.integers(1, 60),
    st.integers(1, 6),
    st.integers(0, 40),
)
def test_ways_lead_to_the_ends_of_an_action_that_the_place_is_in(
    actions: list[tuple[float, float, int]], steps: int, levels: int, first: int
) -> None:
    spans = [(begin, begin + length, label) for begin, length, label in actions]
    data = timed(*spans, outputs=3)
    for at, stride, labels, (back, ahead) in wanted(data, levels, first, steps):
        assert back >= 0 and ahead >= 0
        near = [
            label
            for begin, end, label in spans
            if abs(first + at - back - begin) < 1e-3 and abs(first + at + ahead - end) < 1e-3
        ]
        assert set(near) & set(labels)
        longer = max(back, ahead)
        assert stride == 1 or longer >= 2 * stride - 1e-3
        assert stride == 2 ** (levels - 1) or longer < 4 * stride + 1e-3


@settings(max_examples=60)
@given(st.floats(0, 40), st.floats(1.0, 60), st.integers(1, 7))
def test_every_action_of_a_step_or_longer_is_spoken_for(
    begin: float, length: float, levels: int
) -> None:
    assert wanted(timed((begin, begin + length, 0)), levels, steps=128)


def test_which_labels_hold_at_each_step() -> None:
    data = timed((2, 4, 0), (3.5, 6.2, 1), (3, 4, 1))
    holds = steps_wanted(data, 0, 1, 8)
    assert holds.dtype == np.float32
    assert holds[:, 0].tolist() == [0, 1, 1, 0, 0, 0, 0, 0]
    assert holds[:, 1].tolist() == [0, 0, 1, 1, 1, 1, 0, 0]


def test_times_become_steps_of_the_sample() -> None:
    segments = (Segment(2.0, 3.5, "a"), Segment(2.5, 4.0, "elsewhere"))
    sample = Sample(
        Path("a"), "a", labels_of(segments), None, None, None, start_s=1.0, segments=segments
    )
    empty = Sample(Path("b"), "b", (), None, None, None, segments=())
    data = timed_examples(timed().videos, [sample, empty], LABELS, RATE_HZ)
    assert data.spans[0].tolist() == [[4, 10]] and data.labels[0].tolist() == [0]
    assert data.spans[1].shape == (0, 2) and data.labels[1].shape == (0,)


# --- losses -------------------------------------------------------------------------------------


def test_the_focal_loss_is_that_of_the_paper() -> None:
    logits = torch.tensor([[0.0, 2.0], [-1.0, 0.5]])
    right = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    p = logits.sigmoid()
    sure = torch.where(right == 1, p, 1 - p)
    alpha = torch.where(right == 1, 0.25, 0.75)
    expected = (alpha * (1 - sure) ** 2 * -sure.log()).sum()
    torch.testing.assert_close(_focal(logits, right), expected)


def test_the_distance_iou_is_one_less_and_the_middles_apart() -> None:
    """From a common place, 4 back and 2 ahead is said, 2 and 4 is right: 4 of 8 are shared."""
    said, right = torch.tensor([[4.0, 2.0]]), torch.tensor([[2.0, 4.0]])
    assert _distance_iou(said, right).item() == pytest.approx(1 - 4 / 8 + (2 / 8) ** 2)
    assert _distance_iou(right, right).item() == pytest.approx(0)
    assert _distance_iou(said[:0], right[:0]).item() == 0
    assert _distance_iou(torch.zeros(1, 2), torch.zeros(1, 2)).isfinite()


# --- fabricated videos --------------------------------------------------------------------------


def video(
    number: int,
    spans: Sequence[tuple[float, float, str]],
    *,
    steps: int = 48,
    split: str = "train",
    streams: Sequence[str] = ("motion",),
    text: str = "",
) -> tuple[Sample, Encoded]:
    """Noise; while an action goes on the dimension of its label is raised. Spans in seconds."""
    draw = np.random.default_rng(number)
    window = Window(Fraction(0), Fraction(steps, RATE_HZ))
    times = grid_times(window, Fraction(RATE_HZ))
    values = {}
    for stream in streams:
        x = draw.normal(0, 0.2, (steps, WIDTHS[stream])).astype(np.float32)
        for begin, end, label in spans:
            if label in LABELS:
                x[(times >= begin) & (times < end), LABELS.index(label)] += 1
        values[stream] = x
    masks = {stream: np.ones(steps, bool) for stream in streams}
    segments = tuple(sorted(Segment(begin, end, label) for begin, end, label in spans))
    name = f"{number}.mp4"
    sample = Sample(Path(name), name, labels_of(segments), split, None, None, segments=segments)
    return sample, Encoded((WindowFeatures(window, times, values, masks),), text)


def videos(count: int = 10, **more: object) -> list[tuple[Sample, Encoded]]:
    """Each has an action of one label or the other, or, every fifth, none; every fourth: val."""
    draw = np.random.default_rng(77)
    made = []
    for i in range(count):
        begin, length = draw.uniform(1, 6), draw.uniform(1.5, 4)
        spans = [] if i % 5 == 4 else [(begin, begin + length, LABELS[i % 2])]
        made.append(video(i, spans, split="val" if i % 4 == 3 else "train", **more))
    return made


def recipe(*overrides: str, **optimisation: object) -> Recipe:
    made = load_recipe(
        "segments",
        [
            "streams={motion: {encoder: motion-energy}}",
            *("rate_hz=4", "window_s=8", "width=16", "levels=3", "dropout=0.1"),
            *overrides,
        ],
    )
    wanted = {"epochs": 30, "batch": 4, "learning_rate": 0.01, "stream_dropout": 0.0}
    return replace(made, optimisation=replace(made.optimisation, **wanted | optimisation))


def learnt(
    made: Sequence[tuple[Sample, Encoded]],
    wanted: Recipe,
    *,
    labels: Sequence[str] = LABELS,
    checkpoint: Path | None = None,
    stop_after: int | None = None,
    until: int | None = None,
) -> Learnt:
    def after(progress: Progress) -> None:
        if progress.epoch == stop_after:
            raise Stopped

    samples, encoded = zip(*made, strict=True)
    return learn(
        fabricated.dataset(samples, SEGMENTS, multi_label=True, labels=labels),
        encoded,
        wanted,
        seed=3,
        device=CPU,
        checkpoint=checkpoint,
        until=until,
        on_epoch=after,
    )


class Stopped(Exception):
    """What ends a training in the middle, in place of a power cut."""


# --- trainings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["segments", "steps"])
def test_what_is_learnt_is_found(head: str) -> None:
    more = ("head=steps", "temporal=tcn") if head == "steps" else ()
    made = learnt(videos(), recipe(*more))
    losses = [row["train_loss"] for row in made.history]
    assert losses[-1] < 0.5 * losses[0]
    assert made.history[-1]["val_loss"] < 0.6 * made.history[0]["val_loss"]
    assert made.about["head"] == head
    for spans in ([(2.5, 5.0, "a")], [(6.0, 9.0, "b")]):
        _, shown = video(99, spans)
        best = max(found_in(made, shown), key=lambda one: one.score)
        ((begin, end, label),) = spans
        assert best.label == label
        assert (best.start_s, best.end_s) == pytest.approx((begin, end), abs=0.6)
        (_, silent) = video(98, [])
        assert max((d.score for d in found_in(made, silent)), default=0) < best.score / 2


def test_the_weights_are_those_of_the_seed() -> None:
    one, other = (learnt(videos(), recipe(epochs=3)) for _ in range(2))
    for name, value in one.network.state_dict().items():
        assert torch.equal(value, other.network.state_dict()[name]), name


@pytest.mark.parametrize(
    ("head", "patience"),
    [
        ("segments", 4),
        ("steps", 0),
        pytest.param("segments", 0, marks=pytest.mark.slow),
        pytest.param("steps", 4, marks=pytest.mark.slow),
    ],
)
def test_a_training_that_was_stopped_goes_on_as_if_it_never_had_been(
    tmp_path: Path, head: str, patience: int
) -> None:
    wanted = recipe(f"head={head}", epochs=8, patience=patience)
    path = tmp_path / "model.safetensors"
    for epoch in (2, 5):
        with pytest.raises(Stopped):
            learnt(videos(), wanted, checkpoint=path, stop_after=epoch)
    resumed, whole = learnt(videos(), wanted, checkpoint=path), learnt(videos(), wanted)
    assert len(resumed.history) == len(whole.history) <= 8
    assert resumed.best_epoch == whole.best_epoch
    for one, other in zip(resumed.history, whole.history, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name


def test_without_patience_the_last_epoch_is_kept() -> None:
    made = learnt(videos(), recipe(epochs=6, learning_rate=0.3))
    assert made.best_epoch == len(made.history) == 6
    patient = learnt(videos(), recipe(epochs=6, learning_rate=0.3, patience=2))
    assert patient.best_epoch == 1 + int(np.argmin([r["val_loss"] for r in patient.history]))
    early = learnt(videos(), recipe(epochs=6), until=4)
    assert early.best_epoch == len(early.history) == 4


def test_videos_without_actions_are_learnt_from() -> None:
    """Where nothing is annotated is what the others are told from: it changes the weights."""
    some = videos()
    fewer = [one for one in some if one[0].segments]
    assert len(fewer) < len(some)
    alone = [video(i, [], split="val" if i == 3 else "train") for i in range(4)]
    made = learnt(alone, recipe(epochs=10))
    losses = [row["train_loss"] for row in made.history]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    _, shown = video(99, [(2, 5, "a")])
    assert max((one.score for one in found_in(made, shown)), default=0) < 0.1


@pytest.mark.parametrize("steps", [1, 2, 5, 31])
def test_a_video_shorter_than_the_window_is_learnt_from(steps: int) -> None:
    made = [video(i, [(0, steps / 8, "a")], steps=steps) for i in range(4)]
    made.append(video(9, [(0, steps / 8, "a")], steps=steps, split="val"))
    shown = learnt(made, recipe(epochs=2))
    assert np.isfinite([row["train_loss"] for row in shown.history]).all()
    assert np.isfinite([row["val_loss"] for row in shown.history]).all()
    found_in(shown, made[0][1])


def test_short_and_long_videos_in_one_batch() -> None:
    made = [video(i, [(1, 2, "b")], steps=steps) for i, steps in enumerate((9, 200, 33, 64))]
    shown = learnt(made, recipe(epochs=2, batch=8))
    assert "val_loss" not in shown.history[0]
    assert np.isfinite([row["train_loss"] for row in shown.history]).all()


def test_a_long_video_gives_more_pieces() -> None:
    made = [video(i, [(1, 2, "b")], steps=steps) for i, steps in enumerate((8, 32, 320))]
    samples, encoded = zip(*made, strict=True)
    shown = examples(encoded, range(3), ["motion"])
    data = timed_examples(shown, samples, LABELS, RATE_HZ)
    objective = timed_objective(data, None, recipe())
    # Pieces of 32 steps, two for each time that one fits, one at least.
    assert objective.examples == 1 + 2 + 20
    assert objective.held_out is None


def test_a_label_that_train_has_not_is_never_found() -> None:
    made = [video(i, [(2, 5, "a")]) for i in range(5)]
    made.append(video(9, [(2, 4, "b")], split="val"))
    shown = learnt(made, recipe())
    assert np.isfinite(shown.history[-1]["val_loss"])
    _, both = video(99, [(2, 4, "a"), (7, 9, "b")])
    scores = dict.fromkeys(LABELS, 0.0)
    for one in found_in(shown, both):
        scores[one.label] = max(scores[one.label], one.score)
    assert scores["b"] < 0.1 < scores["a"]


def test_several_streams_and_one_that_is_absent() -> None:
    both = videos(streams=("motion", "image"))
    sample, encoded = both[0]
    (window,) = encoded.windows
    gone = {**window.masks, "image": np.zeros(len(window.times), bool)}
    both[0] = (sample, Encoded((replace(window, masks=gone),), ""))
    two = "streams={motion: {encoder: motion-energy}, image: {front_end: identity-change}}"
    made = learnt(both, recipe(two, epochs=3, stream_dropout=0.3))
    assert np.isfinite([row["train_loss"] for row in made.history]).all()


def test_words_are_learnt_with_pieces_of_a_video() -> None:
    texts = ["a quiet day", "run run", "", "someone falls"]
    spans = [(2.0, 5.0, "a")]
    made = [video(i, spans, text=texts[i % 4], steps=80) for i in range(6)]
    made.append(video(9, [(2, 5, "a")], text="unknown words", split="val"))
    spoken = "streams={motion: {encoder: motion-energy}, text: {}}"
    shown = learnt(made, recipe(spoken, epochs=6, stream_dropout=0.2))
    losses = [row["train_loss"] for row in shown.history]
    assert losses[-1] < losses[0]
    for text in ("run", ""):
        _, one = video(50, [(2, 5, "a")], text=text, steps=80)
        tokens = tokens_from(shown.about)
        assert tokens is not None
        x, mask = fused_steps(step_network(shown.fusion), one.windows[0], tokens(text))
        assert x.shape == (80, 16) and mask.all()
        assert np.isfinite(x).all()
        found_in(shown, one)


def test_what_is_held_out_is_judged_alike_with_and_without_others() -> None:
    """The loss on validation does not hang on how long the others in it are."""
    made = learnt(videos(), recipe(epochs=2))
    val = [one for one in videos() if one[0].split == "val"]
    samples, encoded = zip(*val, strict=True)
    shown = examples(encoded, range(len(val)), ["motion"])
    data = timed_examples(shown, samples, LABELS, RATE_HZ)
    objective = timed_objective(data, data, recipe())
    assert objective.held_out is not None
    loss = objective.held_out(made.network, CPU)["val_loss"]
    assert loss == pytest.approx(made.history[-1]["val_loss"], rel=1e-5)


@pytest.mark.parametrize("head", ["segments", "steps"])
@pytest.mark.parametrize("processes", [2, 3, 7])
def test_shares_of_a_batch_add_up_to_it(
    monkeypatch: pytest.MonkeyPatch, head: str, processes: int
) -> None:
    """As several processes have them, of which some may have none."""
    samples, encoded = zip(*videos(6, steps=40), strict=True)
    made = learnt(videos(), recipe(f"head={head}", epochs=1))
    shown = examples(encoded, range(len(samples)), ["motion"])
    wanted = recipe(f"head={head}")
    data = timed_examples(shown, samples, LABELS, RATE_HZ)
    objective = timed_objective(data, None, wanted)
    rows = np.arange(5)

    def loss(number: int, count: int) -> tuple[float, float]:
        def mine(rows: int) -> slice:
            return slice(number * rows // count, (number + 1) * rows // count)

        monkeypatch.setattr("vmm_cli.training.objectives.segments.share", mine)
        found, counted = objective.loss(made.network, rows, np.random.default_rng(1), CPU)
        return float(found.detach()), counted

    whole, counted = loss(0, 1)
    parts = [loss(number, processes) for number in range(processes)]
    assert sum(part for part, _ in parts) == pytest.approx(whole, rel=1e-5)
    assert {each for _, each in parts} == {counted} == {5.0}
