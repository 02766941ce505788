"""A trained network, and what it was made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vmm_cli.features.windows import Encoded
from vmm_cli.inference.examples import Examples, examples, tokens_from
from vmm_cli.inference.in_torch import features_after
from vmm_cli.networks.image_tail import STREAM, ImageTail, NetworkWithTail
from vmm_cli.networks.model import FusionNetwork
from vmm_cli.training.recipe import Recipe


@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """A trained network and how it came about.

    Attributes:
        network: with the weights of the best epoch, in evaluation mode; None where nothing but
            `tensors` was learnt.
        about: what `FusionNetwork` is built from again, as JSON types: see `network_from`.
        labels: those that it knows.
        history: a row of numbers for each epoch.
        best_epoch: counted from 1; 0: there were none.
        recipe: what it was learnt by; of a probe with the streams and views that were chosen.
        compared: of a probe, what was compared and chosen, as JSON types: see `probe.choose`.
        tensors: of a model without a network: what it is made of, by its name in a bundle.
        thresholds: those that it came with; None: they are chosen on what is held out.
    """

    network: FusionNetwork | NetworkWithTail | None
    about: Mapping[str, Any]
    labels: Sequence[str]
    history: Sequence[Mapping[str, float]]
    best_epoch: int
    recipe: Recipe
    compared: Mapping[str, Any] | None = None
    tensors: Mapping[str, np.ndarray] | None = None
    thresholds: Mapping[str, float] | None = None

    @property
    def fusion(self) -> FusionNetwork:
        """What judges features, without blocks of the image encoder that learnt too."""
        whole = self.network
        assert whole is not None  # there is one where anything asks for it
        return whole.network if isinstance(whole, NetworkWithTail) else whole

    @property
    def tail(self) -> ImageTail | None:
        """The blocks of the image encoder that learnt too."""
        return self.network.tail if isinstance(self.network, NetworkWithTail) else None

    def examples(self, encoded: Sequence[Encoded]) -> Examples:
        """Return samples as the network is shown them, numbered from 0."""
        streams = [stream["name"] for stream in self.about["streams"]]
        return examples(encoded, range(len(encoded)), streams, tokens_from(self.about))

    def fusion_examples(self, encoded: Sequence[Encoded]) -> Examples:
        """Return samples as `fusion` is shown them."""
        shown = self.examples(encoded)
        if self.tail is None:
            return shown
        images = [features_after(self.tail, before) for before in shown.values[STREAM]]
        return replace(shown, values={**shown.values, STREAM: images})
