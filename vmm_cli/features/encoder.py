"""What an encoder is to vmm: one row of `catalogue.ENCODERS`. Nothing is loaded for it.

A row says how its encoder runs, which is one of four ways: `OfFrames`, `OfSightings`, `OfSound` or
`OfText`. The functions that it names are called when a video is looked at; they import what they
need then.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from vmm_cli.bundles import EncoderSpec, Json, encoder_digest
from vmm_cli.features.grid import Window, grid_times
from vmm_cli.features.values import Features
from vmm_cli.media.frames import FrameRequest
from vmm_cli.media.sampling import Sampling, every

if TYPE_CHECKING:
    from vmm_cli.features.sightings import Sightings

# The front ends that take features; others are for patches of a spectrogram and for words.
OF_FEATURES = ("identity", "change", "identity-change")


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """One encoder.

    Attributes:
        stream: the kind of evidence it reads.
        about: what it gives, for documents; Markdown.
        runs: how it comes by it.
        spec: gives what a bundle says of it, from its name, this row and the seconds of a window;
            None: it is learnt with the model, and there is nothing to say.
        version: changes when a value that it gives does, so that kept features are others then.
        width: D of the features; None: they are patches or words.
        weights: the bundle that carries its weights; "": it has none, or carries them itself.
        settings: what it was made with, as JSON.
        front_ends: those that can take what it gives, the default first.
        kept: whether the feature store may hold what it gives. `asked`: only where the user allows
            it, as somebody could be known again by it. `never`: what was said could be told by it.
        holds: how long a value holds: until the `next` one comes, or for a `step` of the grid.
        per_window: whether what it gives for a step depends on the window that the step is in.
        learns: how many of its last blocks can learn with a model.
        grid: rows and columns of the picture, where each value is of a place in it, by rows.
    """

    stream: str
    about: str
    runs: OfFrames | OfSightings | OfSound | OfText
    spec: Callable[[str, Encoder, Fraction], EncoderSpec] | None
    version: str = ""
    width: int | None = None
    weights: str = ""
    settings: Mapping[str, Json] = field(default_factory=dict)
    front_ends: tuple[str, ...] = OF_FEATURES
    kept: Literal["always", "asked", "never"] = "always"
    holds: Literal["next", "step"] = "step"
    per_window: bool = False
    learns: int = 0
    grid: tuple[int, int] | None = None

    @property
    def gives_words(self) -> bool:
        """Whether it gives no features but words, which are numbered once all texts are known."""
        return isinstance(self.runs, OfText) and self.runs.embed is None


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """What an encoder is to do: a run of windows of one video, on one grid.

    Attributes:
        row: the encoder.
        spec: what the plan says of it: its name, its digest and its settings.
        windows: in order; each half over the one before, or abutting.
        rate_hz, window_s: steps a second, and seconds of a whole window.
        model: folder of a model whose encoder may be its own.
        train_last: how many of its last blocks are left out, as they are to learn.
        device: that the network is to run on, for `OfFrames.compute`: "cpu", "cuda" or "cuda:1".
        watched: what was found in the pictures so far, for an encoder that `watches`.
    """

    row: Encoder
    spec: EncoderSpec
    windows: Sequence[Window]
    rate_hz: Fraction
    window_s: Fraction
    model: Path | None = None
    train_last: int = 0
    device: str = "cpu"
    watched: Watched | None = None

    @property
    def whole(self) -> Window:
        """From where the first window begins to where the last one ends."""
        return Window(self.windows[0].start, self.windows[-1].end)

    @property
    def sampling(self) -> Sampling:
        """The times of all steps, as a decoder takes them."""
        return sampling_of(self.windows, self.rate_hz)

    @property
    def times(self) -> np.ndarray:
        """The times of all steps: float64 [T], seconds."""
        return grid_times(self.whole, self.rate_hz)


# --- the four ways to run -----------------------------------------------------------------------


class FrameLoader(Protocol):
    """What a worker does for an encoder of pictures: from decoded pictures to what is computed of.

    Pictures come in the order of their times. What `take` and `finish` yield goes to `Compute.run`
    at once; it is all alike but in N.
    """

    @property
    def requests(self) -> Sequence[FrameRequest]:
        """The pictures that are wanted; of several requests each needs a name of its own."""

    def take(self, request: str, time_s: float, image: np.ndarray) -> Iterable[np.ndarray]:
        """Take the next picture, uint8 [H, W, 3] RGB, and yield what is complete with it.

        uint8 [N, ...], N >= 1, each.
        """

    def finish(self, end_s: float | None) -> Iterable[np.ndarray]:
        """Yield what is left of a video that ends at `end_s`; None: it has no picture."""

    def tracks(self, values: Sequence[np.ndarray], width: int) -> list[Features]:
        """Return the features of all windows as one; of an encoder `per_window` one for each.

        `values`: float32 [N, width] for all that was yielded, in order. `width`: that of `Compute`;
        without one that of the row.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Compute:
    """A frozen network, loaded, on its device.

    Attributes:
        run: uint8 [N, ...] -> float32 [N, width], each row of its own picture or clip alone: on a
            device those of several videos come together, and N may be any number.
        width: D.
        batch: how many pictures or clips are best computed at once.
    """

    run: Callable[[np.ndarray], np.ndarray]
    width: int
    batch: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class OfFrames:
    """Of pictures: all encoders of a video share one decode.

    Attributes:
        load: begins a job; it is told how many pictures to yield at once where they are of a kind.
            It needs no device: pictures are decoded, cut and resized here.
        compute: gives the network, which a worker keeps for later jobs; None: `load` does it all,
            and yields nothing.
        takes_device: whether the network is worth a device; else it computes in the worker's CPU.
        watches: whether it goes by the objects in the pictures, `Job.watched`.
    """

    load: Callable[[Job, int], FrameLoader]
    compute: Callable[[Job], Compute] | None = None
    takes_device: bool = True
    watches: bool = False


@dataclass(slots=True, eq=False)
class Watched:
    """The objects in the pictures so far, by time: some come later than their pictures.

    Attributes:
        times: seconds, ascending.
        objects: at each, float32 [n, 6]: see `vmm_cli.features.objects.COLUMNS`.
    """

    times: list[float] = field(default_factory=list)
    objects: list[np.ndarray] = field(default_factory=list)

    def take(self, time_s: float, objects: np.ndarray) -> None:
        """Take the objects of the next picture."""
        self.times.append(time_s)
        self.objects.append(objects)

    def boxes(self, label: int, start_s: float, end_s: float) -> np.ndarray:
        """Return what was found of a kind between two times: float32 [n, 5], score and box."""
        first, last = (bisect_left(self.times, time_s) for time_s in (start_s, end_s))
        there = np.concatenate([np.empty((0, 6), np.float32), *self.objects[first:last]])
        boxes: np.ndarray = there[there[:, 0] == label, 1:]
        return boxes


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What is seen in a video at the steps of a job.

    Attributes:
        sightings: the objects, and the poses of people where they are asked for.
        aspect: width over height of the displayed picture.
    """

    sightings: Sightings
    aspect: float


@dataclass(frozen=True, slots=True, eq=False)
class OfSightings:
    """Of the objects in pictures, and of people's poses: all such encoders of a video share them.

    Attributes:
        encode: gives the features of all steps as one track.
        poses: whether it wants the poses.
    """

    encode: Callable[[Job, Seen], list[Features]]
    poses: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class OfSound:
    """Of sound.

    Attributes:
        encode: called as `encode(video, times, step_s, start_s=..., end_s=...)`: gives the features
            of the steps [t, t + step_s) of `times`, float64 [T], in which something is heard; of
            the sound between `start_s` and `end_s` alone.
    """

    encode: Callable[..., Features]


@dataclass(frozen=True, slots=True, eq=False)
class OfText:
    """Of the text that belongs to a video, which holds at every step.

    Attributes:
        embed: N texts -> float32 [N, width], zeros for a text without words; None: the text's words
            themselves are what it gives.
    """

    embed: Callable[[Sequence[str]], np.ndarray] | None = None


# --- what bundles say of encoders ---------------------------------------------------------------


def versioned(name: str, row: Encoder, window_s: Fraction, *, made_of: str = "") -> EncoderSpec:
    """Return what a bundle says of an encoder that its version and its settings tell apart.

    `made_of`: what else its values depend on, such as the digest of its weights.

    Raises:
        ValueError: it has neither a version nor weights: nothing would tell new values from old.
    """
    if not (row.version or made_of):
        raise ValueError(f"encoder {name!r} has no version")
    settings: dict[str, Any] = json.loads(json.dumps(dict(row.settings)))  # as they come back
    what = " ".join(part for part in (name, row.version, made_of) if part)
    return EncoderSpec(name, encoder_digest(what, settings, {}), settings)


def sampling_of(windows: Sequence[Window], rate_hz: Fraction) -> Sampling:
    """Return the times wanted of a run of windows."""
    return every(1 / rate_hz, start=windows[0].start, end=windows[-1].end)
