"""`vmm transcribe` from the shell: what is said and when, in every format."""

from __future__ import annotations

import json
import os
import shutil
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import vmm_cli as vmm
from tests.command import Vmm
from tests.made_sounds import RATE, made_sounds
from tests.squares import HEIGHT, WIDTH, squares_clip
from vmm_cli.media.audio import iter_audio
from vmm_cli.media.captions import read_sidecar

pytestmark = pytest.mark.extra("speech")


@pytest.fixture
def talk(vmm_data: Path, tmp_path: Path) -> Path:
    """3 s of a person who says a sentence to the camera."""
    return Path(shutil.copy(vmm_data / "talking_heads" / "lbax4n.mpg", tmp_path / "talk.mpg"))


def records(run_vmm: Vmm, *words: str | Path, code: int = 0) -> list[dict[str, Any]]:
    done = run_vmm("transcribe", *words, "--format", "jsonl", "--jobs", "1")
    assert done.returncode == code, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def write_wav(path: Path, samples: np.ndarray) -> Path:
    path.parent.mkdir(exist_ok=True)
    with wave.open(os.fspath(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def test_a_sentence_in_each_format(run_vmm: Vmm, talk: Path, tmp_path: Path) -> None:
    (tmp_path / "talk.en.srt").write_text("1\n00:00:00,000 --> 00:00:02,000\nlay blue\n")
    (record,) = records(run_vmm, talk)
    assert record["schema"] == "vmm.transcribe/1"
    assert (record["model"], record["source"], record["language"]) == (
        "tiny.en",
        "recognised",
        "en",
    )
    assert record["captions"] == ["talk.en.srt"]
    (segment,) = record["segments"]
    assert segment["text"].startswith("Lay blue")
    assert 0 <= segment["start_s"] < 0.8 and 1.5 < segment["end_s"] <= 3

    found = vmm.transcribe(talk)
    assert (found.text, found.segments[0].start_s) == (segment["text"], segment["start_s"])

    one = ("transcribe", talk)
    assert run_vmm(*one, "--format", "txt").stdout == f"{segment['text']}\n"
    assert run_vmm(*one, "-o", "talk.vtt").returncode == 0
    (cue,) = read_sidecar(tmp_path / "talk.vtt").captions
    assert (cue.start_s, cue.end_s, cue.text) == (*list(segment.values())[:2], segment["text"])
    table = run_vmm(*one, "--format", "table").stdout
    assert segment["text"] in table and "it has captions too: talk.en.srt" in table
    again = run_vmm(*one, "--start", "9", "--format", "srt")
    assert (again.returncode, again.stdout) == (3, "") and "past_end" in again.stderr


def test_one_that_has_no_sound_costs_itself_alone(run_vmm: Vmm, talk: Path, tmp_path: Path) -> None:
    squares_clip(tmp_path / "mute.mp4")
    (tmp_path / "broken.mp4").write_bytes(bytes(5000))
    found = records(run_vmm, "mute.mp4", "broken.mp4", talk, code=3)
    assert [one.get("error", {}).get("code") for one in found] == ["no_audio", "unreadable", None]
    assert found[0]["error"]["message"] == "there is no sound in it"
    done = run_vmm("transcribe", "mute.mp4", talk, "--format", "txt")
    said = found[2]["segments"][0]["text"]
    assert done.stdout.endswith(f"(no_audio: there is no sound in it)\n\n{talk}\n{said}\n")


def test_nothing_is_said_in_noise_and_music(run_vmm: Vmm, tmp_path: Path) -> None:
    for name, samples in made_sounds().items():
        write_wav(tmp_path / "sounds" / f"{name}.wav", np.resize(samples, 8 * RATE))
    found = records(run_vmm, "sounds")
    assert len(found) == len(made_sounds())
    assert [(one["language"], one["segments"]) for one in found] == [(None, [])] * len(found)
    table = run_vmm("transcribe", "sounds", "--format", "table").stdout
    assert table.count("(nothing said)") == len(found)


def test_german_is_told_and_no_english_is_made_up(
    run_vmm: Vmm, vmm_data: Path, tmp_path: Path
) -> None:
    shutil.copy(vmm_data / "voices" / "clips" / "03a01Fa.flac", tmp_path / "german.flac")
    done = run_vmm("transcribe", "german.flac", "--format", "jsonl")
    record = json.loads(done.stdout)
    assert (record["language"], record["segments"]) == (None, [])
    assert record["not_understood"][0]["end_s"] > 1
    (warning,) = record["warnings"]
    assert done.stderr == f"german.flac: {warning}\n" and "knows English alone" in warning


def late_and_damaged(path: Path, samples: np.ndarray, late_s: int) -> Path:
    """Render seconds of a grey picture, with PCM from `late_s` on; the last packets are cut off."""
    with av.open(os.fspath(path), "w") as container:
        video = container.add_stream("mpeg4", rate=5)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = container.add_stream("flac", rate=RATE, layout="mono")
        for i in range(5 * (late_s + 4)):
            image = np.full((HEIGHT, WIDTH, 3), 99, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 5)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        whole = (samples * 32767).astype(np.int16)[None]
        for first in range(0, whole.shape[1], 4096):
            heard = av.AudioFrame.from_ndarray(whole[:, first : first + 4096], "s16", "mono")
            heard.sample_rate, heard.time_base = RATE, Fraction(1, RATE)
            heard.pts = late_s * RATE + first
            for packet in audio.encode(heard):
                container.mux(packet)
        container.mux(audio.encode())
    return path


def test_sound_that_starts_late_is_on_the_pictures_clock(
    run_vmm: Vmm, talk: Path, tmp_path: Path
) -> None:
    (before,) = records(run_vmm, talk)
    samples = np.concatenate([block.samples for block in iter_audio(talk, RATE)])
    clip = late_and_damaged(tmp_path / "late.mkv", samples, 3)
    (record,) = records(run_vmm, clip)
    (segment,) = record["segments"]
    assert segment["text"].startswith("Lay blue")
    assert segment["start_s"] == pytest.approx(before["segments"][0]["start_s"] + 3, abs=0.1)
    content = bytearray(clip.read_bytes())
    content[-20_000:] = bytes(20_000)  # the last packets
    clip.write_bytes(content)
    (record,) = records(run_vmm, clip)
    assert record["status"] == "ok"
    assert all(one["start_s"] >= 3 for one in record["segments"])
