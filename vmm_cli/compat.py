"""Make `import torchvision` work beside a PyTorch its native operators were not built for.

torchvision from PyPI is built for CUDA. Beside a CPU-only PyTorch its native library does not
load, and the import then fails with `operator torchvision::nms does not exist`, because two
operators get their shape rules at import. Declaring those two operators, without a kernel, is
enough: models and transforms work, and calling `nms` or `roi_align` still says what is missing.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
# Operators vanish with the Library object that defined them.
_declared: torch.library.Library | None = None


def ensure_torchvision() -> None:
    """Declare torchvision's operators where its native ones are missing; call before importing it.

    Does nothing where torchvision is not installed or its own operators load. May be called
    again.
    """
    global _declared
    if _declared is not None or _native_operators_load():
        return
    import torch

    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    _declared = library


def _native_operators_load() -> bool:
    """Tell whether torchvision's operators are there, or torchvision is not installed at all."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return True
    import torch

    folder = Path(spec.submodule_search_locations[0])
    for file in (*folder.glob("_C*.so"), *folder.glob("_C*.pyd"), *folder.glob("_C*.dylib")):
        try:
            # As torchvision does; loading it twice does no harm.
            torch.ops.load_library(file)  # type: ignore[no-untyped-call]
        except OSError:
            continue
    return hasattr(torch.ops.torchvision, "nms")
