"""What a recipe says: which streams and networks a model is made of, and how it is trained.

Nothing here loads torch: the names of networks are repeated, and a test holds them against the
networks themselves. How recipes are read and checked: `read_recipe`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import yaml

TEMPORAL = ("mean", "lstm", "gru", "transformer", "tcn", "none")
# Those that do not depend on the whole: a video without windows is gone through piece by piece.
LIMITED_TEMPORAL = ("none", "tcn")
# What a linear probe can hold: a network in which everything behind the views is linear.
PROBE_TEMPORAL, PROBE_FUSION = "none", "concat"
PROBE_VIEWS: Mapping[str, tuple[str, ...]] = {
    "identity": ("identity",),
    "change": ("change",),
    "identity-change": ("identity", "change"),
}
FUSION = ("concat", "weighted", "gated", "attention", "graph")


# What a recipe that does not say it allows, where there are negatives to measure it on.
MAX_FALSE_ALARMS_PER_HOUR = 1.0


@dataclass(frozen=True)
class StreamRecipe:
    """One stream: its encoder, its front end, and numbers that only this stream knows.

    Options: `train_last` of image: how many of the encoder's last blocks learn too (0: it stays
    as it is).
    """

    encoder: str
    front_end: str
    options: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Optimisation:
    """How the network is trained.

    `mixup` is for classes, `label_smoothing` and `class_weights` for classes and emotions,
    `valence_weight` for valence.

    Attributes:
        epochs: at most.
        batch: windows a step; a sample no longer than a window is one.
        learning_rate: the highest; AdamW's.
        weight_decay: AdamW's.
        warmup: the part of all steps in which the learning rate rises; then it falls as a cosine.
        clip: the largest norm of the gradients.
        label_smoothing: the part of the target that is spread over all labels.
        mixup: alpha of the Beta distribution that features are mixed by; 0: off.
        ema: decay per step of the moving average of the weights; 0: off.
        patience: epochs without improvement on validation after which training stops; 0: it runs
            to the end, and the last epoch is kept.
        stream_dropout: how likely a stream is left out of a sample.
        class_weights: whether samples of rare labels count more.
        valence_weight: how much the loss of the valence counts beside that of the emotions.
        probe: a linear map of features that stay as they are is solved for instead, on the views of
            the streams that do best on groups left out; see `probe`. Nothing above but
            `class_weights` then counts.
    """

    epochs: int = 40
    batch: int = 16
    learning_rate: float = 1e-4  # ten times as much overfits 200 clips within 3 epochs
    weight_decay: float = 0.05
    warmup: float = 0.1
    clip: float = 1.0
    label_smoothing: float = 0.0
    mixup: float = 0.0
    ema: float = 0.0
    patience: int = 10
    stream_dropout: float = 0.2
    class_weights: bool = True
    valence_weight: float = 1.0
    probe: bool = False


@dataclass(frozen=True)
class Usual:
    """How it is learnt what is usual, by the head `normal`.

    Attributes:
        nearest: how many of the nearest usual steps a step is compared with.
        components: of a stream's values, at most.
        bank: steps that are kept of a stream, at most.
        smoothing_s: over how many seconds scores are averaged.
        false_alarms_per_hour: on videos that were left out, by which the threshold is chosen.
    """

    nearest: int = 3
    components: int = 64
    bank: int = 4096
    smoothing_s: float = 1.0
    false_alarms_per_hour: float = 1.0


@dataclass(frozen=True)
class Recipe:
    """A model that can be trained.

    Attributes:
        rate_hz: steps a second of the grid on which the streams meet.
        window_s: seconds of video that are judged at once; of segments: learnt from at once.
        streams: by name, in the model's order.
        temporal, fusion: one of `TEMPORAL` and of `FUSION`.
        head: one of a task's; it says what the model is for.
        width: of the network inside; layers: of the temporal network.
        dropout: the part of the values that is dropped in training.
        levels: scales of time of the head `segments`, each half as fine as the one before.
        max_false_alarms_per_hour: how often each label may be found where it is not, by the hour of
            what was held out; its threshold is the lowest for which that holds. None: once where
            negatives were given; else thresholds are chosen otherwise, see `Task.score`.
        usual: of the head `normal`, which has no use for networks nor for their optimisation.
    """

    name: str
    description: str
    streams: Mapping[str, StreamRecipe]
    rate_hz: float = 4.0
    window_s: float = 5.0
    temporal: str = "mean"
    fusion: str = "concat"
    head: str = "classes"
    width: int = 128
    layers: int = 1
    dropout: float = 0.5
    levels: int = 7
    max_false_alarms_per_hour: float | None = None
    optimisation: Optimisation = field(default_factory=Optimisation)
    usual: Usual = field(default_factory=Usual)


def to_yaml(recipe: Recipe) -> str:
    """Return the recipe with all its values as YAML, from which `load_recipe` makes the same."""
    content = asdict(recipe)
    for stream in content["streams"].values():
        stream |= stream.pop("options")
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
