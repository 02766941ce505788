"""Writing graphs: what cannot be written so is told, and the model is saved without."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.engines import tiny
from vmm_cli import bundles
from vmm_cli.engines.export import ExportError, graph_bytes, graph_maker


@pytest.fixture
def weights(tmp_path: Path) -> bundles.Weights:
    return bundles.load_weights(bundles.save(tmp_path / "plain", tiny.fields(), tiny.tensors()))


def test_the_same_network_gives_the_same_bytes(weights: bundles.Weights) -> None:
    assert graph_bytes(tiny.network(), weights) == graph_bytes(tiny.network(), weights)


def test_other_weights_than_the_network_s(weights: bundles.Weights) -> None:
    module = tiny.Tiny()
    with torch.no_grad():
        module.first.bias += 1
    with pytest.raises(
        ExportError, match=r"first\.bias has other values than network\.first\.bias"
    ):
        graph_bytes(tiny.network(module), weights)


class Large(tiny.Tiny):
    """Has a table that the weights have not."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.randn(200, 100), persistent=False)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = super().forward(x, mask) + self.table.mean(dim=0)[:2]
        return y


class Counting(tiny.Tiny):
    """Counts rows or steps as it is traced, so that its graph knows the numbers of the example."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return super().forward(x, mask) / int(x.shape[self.axis])


@pytest.mark.parametrize("axis", [0, 1])
def test_a_graph_that_kept_a_length_is_refused(weights: bundles.Weights, axis: int) -> None:
    network = replace(tiny.network(Counting(axis)), traced=True)
    with pytest.raises(ExportError, match=r"shapes \[\(1, 3, 3\), \(1, 3\)\]: .*y is .* off"):
        graph_bytes(network, weights)


class Branching(tiny.Tiny):
    """Goes by what it is given."""

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return super().forward(x, mask) if x.sum() > 0 else x[..., :2]


@pytest.mark.parametrize(("module", "said"), [(Large(), "table is large"), (Branching(), "")])
def test_what_is_no_graph_is_saved_without(
    module: nn.Module, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        maker = graph_maker(tiny.network(module))
        model = bundles.save(tmp_path / "m", tiny.fields(), tiny.tensors(), {"network": maker})
    assert not model.graphs
    assert "saved without a graph, so that PyTorch must run it" in caplog.text
    assert said in caplog.text
