"""The graphs that a run leaves beside its weights, so that its model runs without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vmm_cli.bundles import EncoderSpec
from vmm_cli.bundles.saving import Graph
from vmm_cli.engines.export import graph_maker
from vmm_cli.features.image_stream import STREAM, tensor_prefix
from vmm_cli.features.preprocess import Preprocess
from vmm_cli.features.windows import Encoded
from vmm_cli.inference.export import graphs_of
from vmm_cli.training.learnt import Learnt


def graphs_of_run(
    learnt: Learnt,
    encoders: Mapping[str, EncoderSpec],
    tensors: Mapping[str, np.ndarray],
    shown: Sequence[Encoded],
) -> dict[str, Graph]:
    """Return what makes each graph of a run's model, by what it is of.

    Args:
        encoders: what its bundle says of them.
        tensors: its weights, by their names in the bundle.
        shown: samples to try the graphs with, at least one.
    """
    fusion = learnt.fusion.to("cpu").eval()
    networks = graphs_of(fusion, learnt.about, learnt.fusion_examples(shown))
    if learnt.tail is not None:
        from vmm_cli.features.image import lite0, to_export

        prefix = tensor_prefix(STREAM)
        own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        numbers = Preprocess.from_dict(encoders[STREAM].preprocess)
        networks[STREAM] = to_export(lite0(own), numbers, traced=True)
    return {role: graph_maker(network) for role, network in networks.items()}
