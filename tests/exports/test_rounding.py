"""Weights in 8 bits: what they put outputs off, beside rounding each to the nearest."""

from __future__ import annotations

import numpy as np

from vmm_cli.exports.rounding import LARGEST, rounded


def test_outputs_are_less_off_than_with_the_nearest() -> None:
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(32, 32)) + 2  # inputs that go together
    inputs = generator.normal(size=(5000, 32)) @ mixing
    weight = generator.normal(size=(16, 32))
    scale = np.abs(weight).max(axis=1) / LARGEST
    steps = rounded(weight, scale, inputs.T @ inputs / len(inputs))
    assert steps.dtype == np.int8 and steps.shape == weight.shape
    assert np.abs(steps * scale[:, None] - weight).max() < 5 * scale.max()
    nearest = np.round(weight / scale[:, None])

    def off(whole: np.ndarray) -> float:
        return float(np.square(inputs @ (whole * scale[:, None] - weight).T).mean())

    assert off(steps) < 0.5 * off(nearest)


def test_inputs_that_are_always_0_do_no_harm() -> None:
    moments = np.zeros((4, 4))
    moments[0, 0] = 1
    weight = np.array([[0.5, -1.0, 0.25, 1.0], [0.0, 0.0, 0.0, 0.0]])
    steps = rounded(weight, np.array([1 / LARGEST, 1e-30]), moments)
    assert steps.tolist() == [[64, -127, 32, 127], [0, 0, 0, 0]]
