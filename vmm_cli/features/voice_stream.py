"""The stream `voice`: how somebody speaks, step by step. No torch itself."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from vmm_cli import bundles
from vmm_cli.bundles import EncoderSpec
from vmm_cli.features.encoder import Encoder
from vmm_cli.features.values import Features
from vmm_cli.media.video import Video


def voice_spec(name: str, row: Encoder, window_s: Fraction) -> EncoderSpec:
    """Return what a bundle says of it. ModelError: the bundle with the weights is not at hand."""
    from vmm_cli.features.speech import speech_digest

    return EncoderSpec(name, speech_digest(bundles.read(bundles.find(row.weights))), {})


def voice_features(
    video: Video,
    times: np.ndarray,
    step_s: float,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
) -> Features:
    """Return how somebody speaks around each step: see `speech.voice_features`."""
    from vmm_cli.features import speech

    return speech.voice_features(video, times, step_s, start_s=start_s, end_s=end_s)
