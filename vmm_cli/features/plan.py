"""What is to be computed of a video: the encoders of its streams, and their grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from vmm_cli.bundles import Bundle, EncoderSpec
from vmm_cli.errors import ModelError
from vmm_cli.features.catalogue import entry_of
from vmm_cli.features.encoder import Encoder, Job, sampling_of
from vmm_cli.features.grid import MAX_STEPS, Window, grid_times
from vmm_cli.media.sampling import Sampling

# Of a grid's steps a second and of a window's seconds: what recipes allow.
LEAST, MAX_RATE_HZ, MAX_WINDOW_S = 0.01, 60.0, 3600.0


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What is to be computed of a video.

    Attributes:
        encoders: by stream.
        rate_hz: steps a second of the grid.
        window_s: length of a window in seconds.
        bundle: folder of a model whose image encoder is its own.
        train_last: how many of the image encoder's last blocks are left out, as they are to learn.
        rows: by stream, the encoders themselves. They go with the plan to workers, which need not
            know of encoders that were added to the catalogue elsewhere.

    Raises:
        ModelError: there is no such encoder.
        ValueError: a window has no step or more than `MAX_STEPS`, or is of no length that a recipe
            can have.
    """

    encoders: Mapping[str, EncoderSpec]
    rate_hz: Fraction
    window_s: Fraction
    bundle: Path | None = None
    train_last: int = 0
    rows: Mapping[str, Encoder] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not (
            LEAST <= self.rate_hz <= MAX_RATE_HZ
            and LEAST <= self.window_s <= MAX_WINDOW_S
            and self.window_s * self.rate_hz <= MAX_STEPS
        ):
            window_s, rate_hz = float(self.window_s), float(self.rate_hz)
            raise ValueError(f"windows of {window_s:g} s cannot have {rate_hz:g} steps a second")
        rows = {stream: entry_of(stream, spec.name) for stream, spec in self.encoders.items()}
        object.__setattr__(self, "rows", rows)

    @property
    def steps(self) -> int:
        """How many steps a whole window has."""
        return len(grid_times(Window(Fraction(0), self.window_s), self.rate_hz))

    def times(self, windows: Sequence[Window]) -> Sampling:
        """Return the times wanted of a run of windows."""
        return sampling_of(windows, self.rate_hz)

    def job(self, stream: str, windows: Sequence[Window]) -> Job:
        """Return what a stream's encoder is to do for a run of windows."""
        row = self.rows[stream]
        return Job(
            row,
            self.encoders[stream],
            windows,
            self.rate_hz,
            self.window_s,
            self.bundle,
            self.train_last if row.learns else 0,
        )


def encoder_spec(stream: str, name: str, window_s: Fraction) -> EncoderSpec:
    """Return what a bundle says of an encoder: its name, digest and settings.

    Raises:
        ModelError: there is none of this name for this stream, or its weights are not at hand, or
            it is learnt with the model and there is nothing to say.
    """
    row = entry_of(stream, name)
    if row.spec is None:
        raise ModelError(f"the encoder {name!r} is learnt with a model and has no weights itself")
    return row.spec(name, row, window_s)


def plan_of(bundle: Bundle) -> StreamPlan:
    """Return what a trained model wants of a video.

    Raises:
        ModelError: it was made with other encoders than those at hand, or says nothing usable.
    """
    try:
        rate_hz, window_s = (_number(bundle.network[k], k) for k in ("rate_hz", "window_s"))
        plan = StreamPlan(bundle.encoders, rate_hz, window_s, bundle.folder)
    except (KeyError, ValueError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise ModelError(f"model {bundle.name!r} cannot be used: {reason}") from None
    for stream, spec in plan.encoders.items():
        here = encoder_spec(stream, spec.name, window_s)
        # An encoder that learnt too is the model's own, and checked when it is loaded.
        if not plan.rows[stream].learns and (here.digest, dict(here.preprocess)) != (
            spec.digest,
            dict(spec.preprocess),
        ):
            raise ModelError(
                f"model {bundle.name!r} was made with another {spec.name!r} than the one at hand; "
                "it needs the version of vmm-cli it came with"
            )
    return plan


def _number(value: object, what: str) -> Fraction:
    """Return a number of a bundle as it is written; ValueError where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"its {what} is no number")
    return Fraction(str(value))
