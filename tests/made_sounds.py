"""Sounds made by formulas: the same wherever they are made."""

from __future__ import annotations

import numpy as np

RATE = 16000
SECONDS = 2


def made_sounds() -> dict[str, np.ndarray]:
    """Return two seconds of each, by name: float32 [32000] at 16 kHz."""
    at = np.arange(SECONDS * RATE) / RATE
    noise = np.random.RandomState(0).uniform(-1, 1, len(at))  # its numbers never change
    clicks = np.where(np.arange(len(at)) % (RATE // 4) < 20, 0.9, 0.0)
    siren = np.sin(2 * np.pi * (900 * at - 300 / (2 * np.pi) * np.cos(2 * np.pi * at)))
    chord = sum(np.sin(2 * np.pi * f * at) for f in (220.0, 277.18, 329.63, 440.0))
    sounds = {
        "silence": np.zeros(len(at)),
        "tone": 0.5 * np.sin(2 * np.pi * 440 * at),
        "noise": 0.3 * noise,
        "clicks": clicks,
        "siren": 0.6 * siren,
        "chord": 0.2 * chord * np.exp(-((at * 2) % 1) * 3),
    }
    return {name: samples.astype(np.float32) for name, samples in sounds.items()}
