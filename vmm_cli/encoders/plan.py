"""What is to be computed of a video: the encoders of its streams, and their grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vmm_cli import bundles
from vmm_cli.bundles import Bundle, EncoderSpec
from vmm_cli.encoders import catalogue
from vmm_cli.encoders.grid import MAX_STEPS, Window, grid_times
from vmm_cli.encoders.log_mel import AUDIO_VERSION, SOUND
from vmm_cli.encoders.motion import MOTION_VERSION
from vmm_cli.encoders.motion_energy import ENERGY_VERSION
from vmm_cli.errors import ModelError
from vmm_cli.media.sampling import Sampling, every

MOTION_BACKBONE = "efficientnet-lite0"
# Sides of the squares, of the picture's shorter side. One of .35 is as good as three and costs a
# third: docs/results.md.
MOTION_SIDES = {"motion-crop": (0.35,), "motion-crops": (0.25, 0.35, 0.5)}
MOTION_ENERGY = "motion-energy"
SENTENCES = "sentences"
# Of a grid's steps a second and of a window's seconds: what recipes allow.
LEAST, MAX_RATE_HZ, MAX_WINDOW_S = 0.01, 60.0, 3600.0
FACES, SPEECH = "faces", "speech"
FACES_CARRIER = "sentiment/face"  # the bundle that carries the weights


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What is to be computed of a video.

    Attributes:
        encoders: by stream: image, motion, audio, text, face, voice.
        rate_hz: steps a second of the grid.
        window_s: length of a window in seconds.
        bundle: folder of a model whose image encoder is its own.
        train_last: how many of the image encoder's last blocks are left out, as they are to learn.

    Raises:
        ValueError: a window has no step or more than `MAX_STEPS`, or is of no length that a recipe
            can have.
    """

    encoders: Mapping[str, EncoderSpec]
    rate_hz: Fraction
    window_s: Fraction
    bundle: Path | None = None
    train_last: int = 0

    def __post_init__(self) -> None:
        if not (
            LEAST <= self.rate_hz <= MAX_RATE_HZ
            and LEAST <= self.window_s <= MAX_WINDOW_S
            and self.window_s * self.rate_hz <= MAX_STEPS
        ):
            window_s, rate_hz = float(self.window_s), float(self.rate_hz)
            raise ValueError(f"windows of {window_s:g} s cannot have {rate_hz:g} steps a second")

    @property
    def steps(self) -> int:
        """How many steps a whole window has."""
        return len(grid_times(Window(Fraction(0), self.window_s), self.rate_hz))

    def times(self, windows: Sequence[Window]) -> Sampling:
        """Return the times wanted of a run of windows."""
        return every(1 / self.rate_hz, start=windows[0].start, end=windows[-1].end)


def encoder_spec(stream: str, name: str, window_s: Fraction) -> EncoderSpec:
    """Return what a bundle says of an encoder: its name, digest and numbers.

    Raises:
        ModelError: there is none of this name for this stream, or its weights are not at hand.
    """
    if stream == "image":
        return carried(name)
    if stream == "motion" and name in MOTION_SIDES:
        backbone = carried(MOTION_BACKBONE)
        numbers = {"window_s": float(window_s), **backbone.preprocess}
        numbers |= {f"side_{i}": side for i, side in enumerate(MOTION_SIDES[name])}
        made_of = f"{name} {MOTION_VERSION} {backbone.digest}"
        return EncoderSpec(name, bundles.encoder_digest(made_of, numbers, {}), numbers)
    if stream == "motion" and name == MOTION_ENERGY:
        digest = bundles.encoder_digest(f"{name} {ENERGY_VERSION}", {}, {})
        return EncoderSpec(name, digest, {})
    if stream == "audio" and name in SOUND:
        return EncoderSpec(name, bundles.encoder_digest(f"{name} {AUDIO_VERSION}", {}, {}), {})
    if stream == "text" and name == SENTENCES:
        from vmm_cli.encoders.sentences import SENTENCES_VERSION, sentence_embeddings

        sentence_embeddings([])  # says now, not for each video, where the packages are missing
        return EncoderSpec(name, bundles.encoder_digest(f"{name} {SENTENCES_VERSION}", {}, {}), {})
    if stream == "face" and name == FACES:
        from vmm_cli.encoders.faces import FACES_VERSION

        weights = bundles.read(bundles.find(FACES_CARRIER)).weights_digest
        return EncoderSpec(
            name, bundles.encoder_digest(f"{name} {FACES_VERSION} {weights}", {}, {}), {}
        )
    if stream == "voice" and name == SPEECH:
        from vmm_cli.encoders.speech import CARRIER, speech_digest

        return EncoderSpec(name, speech_digest(bundles.read(bundles.find(CARRIER))), {})
    raise ModelError(f"there is no encoder named {name!r} for the stream {stream!r}")


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
        # An image encoder that learnt too is the model's own, and checked when it is loaded.
        if stream != "image" and (here.digest, dict(here.preprocess)) != (
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


def sees_windows_apart(spec: EncoderSpec) -> bool:
    """Tell whether what an encoder gives for a step depends on the window that the step is in."""
    return spec.name in MOTION_SIDES


def carried(name: str) -> EncoderSpec:
    """Return what the bundle that carries the weights of an image encoder says of it."""
    bundle = bundles.read(bundles.find(catalogue.entry(name).weights))
    if "image" not in bundle.encoders:
        raise ModelError(f"encoder {name!r} is not one for pictures")
    return bundle.encoders["image"]
