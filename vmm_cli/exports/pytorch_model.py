"""An export for PyTorch: `model.pt2`, as `torch.export` writes it; TorchScript is deprecated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm_cli import bundles
from vmm_cli.errors import ModelError
from vmm_cli.exports.looks import head_of
from vmm_cli.exports.network import Exportable, Run

if TYPE_CHECKING:
    from torch import Tensor, nn

FILE = "model.pt2"
LOAD = """\
model = torch.export.load(HERE / "model.pt2").module()


def run(pictures):  # uint8 [N, ...] -> probabilities of the labels, [N, L]
    return model(torch.from_numpy(pictures)).detach().numpy()\
"""


def write(
    model: Exportable, whole: Any, folder: Path, precision: str, calibrating: np.ndarray | None
) -> None:
    """Write a model: see `onnx_model.write`; int8 is not among what it writes.

    Raises:
        ModelError: its network cannot be written so.
    """
    import torch

    from vmm_cli.features.catalogue import image_graph

    if model.window_s is not None:
        raise ModelError(
            f"model {model.bundle.name!r} sees windows: it is exported for onnx and openvino alone"
        )
    try:
        network = image_graph(model.bundle)
    except ValueError as error:
        raise ModelError(f"model {model.bundle.name!r}: its network is unusable: {error}") from None
    if network is None:
        raise ModelError(f"model {model.bundle.name!r} does not hold the tensors of its encoder")
    module = _with_head(network.module, model)
    if precision == "fp16":
        module = _halved(module)
    example = (torch.from_numpy(model.example),)
    with torch.no_grad():
        program = torch.export.export(
            module.eval(), example, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)
        )
    torch.export.save(program, folder / FILE)


def open_model(folder: Path) -> Run:
    """Return the model of a folder that was written here as a function, in one thread."""
    import torch

    torch.set_num_threads(1)
    module = torch.export.load(folder / FILE).module()

    def run(pictures: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            found: np.ndarray = module(torch.from_numpy(pictures)).numpy()
        return found

    return run


def _with_head(encoder: nn.Module, model: Exportable) -> nn.Module:
    import torch
    from torch import nn

    weight, bias = head_of(model.bundle, bundles.load_tensors(model.bundle, "head."))
    head = nn.Linear(weight.shape[1], weight.shape[0])
    head.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
    return nn.Sequential(encoder, head, nn.Softmax(dim=1)).eval().requires_grad_(False)


def _halved(module: nn.Module) -> nn.Module:
    """Return a module that stores its floats in float16 and computes with them in float32."""
    import torch
    from torch import nn

    class Halved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module.half()

        def forward(self, pictures: Tensor) -> Tensor:
            state = {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}
            wide = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
            found: Tensor = torch.func.functional_call(self.module, wide, (pictures,))
            return found

    return Halved()
