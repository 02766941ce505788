"""Weights in 8 bits whose roundings make up for each other.

Rounded to the nearest, each weight is off for itself. Here the weights of a convolution of single
pixels are rounded one input channel after the other, and what that puts its outputs off is made up
for by the weights of the channels that are still to come, as far as their inputs go together: GPTQ
(Frantar et al. 2023, https://arxiv.org/abs/2210.17323).
"""

from __future__ import annotations

import numpy as np

LARGEST = 127  # symmetric: -128 is left out
DAMPING = 0.01  # of the mean square of the inputs, so that those that are always 0 do no harm


def rounded(weight: np.ndarray, scale: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Return weights as whole numbers.

    Args:
        weight: [O, I], floats.
        scale: [O], what a step of each output's weights is worth, > 0.
        moments: [I, I], the mean of the products of inputs, of those that are to be expected.

    Returns int8 [O, I].
    """
    weight = weight.astype(np.float64)
    steps = np.empty(weight.shape, np.int8)
    damped = moments + DAMPING * np.mean(np.diag(moments)) * np.eye(len(moments))
    share = np.linalg.cholesky(np.linalg.inv(damped)).T  # [I, I], upper triangular
    for i in range(weight.shape[1]):
        nearest = np.clip(np.round(weight[:, i] / scale), -LARGEST, LARGEST)
        steps[:, i] = nearest
        off = (weight[:, i] - nearest * scale) / share[i, i]
        weight[:, i + 1 :] -= np.outer(off, share[i, i + 1 :])
    return steps
