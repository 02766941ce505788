from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

CURED = """
from vmm_cli import compat
compat.ensure_torchvision()
compat.ensure_torchvision()
import torch, torchvision
from torchvision.transforms import v2
picture = v2.Resize(16)(torch.zeros(3, 32, 32, dtype=torch.uint8))
assert picture.shape == (3, 16, 16)
assert torchvision.models.mobilenet_v3_small().eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)
print("declared" if compat._declared is not None else "left alone")
"""

ABSENT = """
import sys
sys.modules["torchvision"] = None
from vmm_cli import compat
compat.ensure_torchvision()
assert compat._declared is None and "torch" not in sys.modules
"""


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed"
)
def test_torchvision_can_be_imported_and_native_operators_are_left_alone() -> None:
    bare = python("import torchvision")
    cured = python(CURED)
    assert cured.returncode == 0, cured.stderr
    if bare.returncode == 0:
        assert cured.stdout.strip() == "left alone"
    else:
        assert "torchvision::nms" in bare.stderr
        assert cured.stdout.strip() == "declared"


def test_without_torchvision_nothing_happens() -> None:
    result = python(ABSENT)
    assert result.returncode == 0, result.stderr
