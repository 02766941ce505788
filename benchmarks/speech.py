"""How well speech is recognised: the table of docs/results.md. Needs the extra `speech`.

    python -m benchmarks.speech

English: $VMM_DATA/talking_heads, 11 sentences of the GRID corpus, of which the manifest says the
words. German: $VMM_DATA/voices, 408 sentences and the same joined by speaker, of which tiny.en
should write nothing. Noise: sounds of formulas (tests/made_sounds.py), ten seconds each. Times are
CPU seconds of one thread.
"""

from __future__ import annotations

import csv
import os
import re
import sys
import tempfile
import time
import wave
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.made_sounds import RATE, made_sounds
from vmm_cli.features.transcript import SAMPLE_RATE, Transcript, check_packages, transcribe
from vmm_cli.media.audio import iter_audio
from vmm_cli.media.video import Video

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
FULL_SCALE = 32767
NOISE_S = 10


def main() -> None:
    if "VMM_DATA" not in os.environ:
        sys.exit("VMM_DATA is not set: it names the folder that holds talking_heads/ and voices/")
    data = Path(os.environ["VMM_DATA"])
    check_packages()  # loaded before anything is timed
    english(data / "talking_heads")
    print()
    print("| not English | sounds | with words | words | times real time |\n" + "| --- " * 5 + "|")
    with tempfile.TemporaryDirectory() as folder:
        clips = by_speaker(data / "voices")
        row("German sentences", [clip for one in clips.values() for clip in one])
        row("German, joined by speaker", [join(folder, *one) for one in clips.items()])
        made = made_sounds().items()
        row("noise and tones", [write(folder, n, np.resize(s, NOISE_S * RATE)) for n, s in made])


def english(folder: Path) -> None:
    """Print the word error rate."""
    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        spoken = {row["path"]: row["label"] for row in csv.DictReader(file)}
    wrong = total = 0
    length_s, begin = 0.0, time.process_time()
    for name, said in spoken.items():
        found = transcribe(Video(folder / name))
        truth, heard = words(said), words(text(found))
        wrong += distance(truth, heard)
        total += len(truth)
        length_s += found.sound_s
    taken = time.process_time() - begin
    print("| English | words | word error rate | times real time |\n" + "| --- " * 4 + "|")
    print(f"| {len(spoken)} sentences | {total} | {wrong / total:.3f} | {length_s / taken:.0f} |")


def row(name: str, paths: Sequence[Path]) -> None:
    """Print how many of some sounds without English are given words, and how many words."""
    begin = time.process_time()
    found = [transcribe(Video(path)) for path in paths]
    taken = time.process_time() - begin
    counts = [len(words(text(one))) for one in found]
    fast = sum(one.sound_s for one in found) / taken
    with_words = sum(1 for count in counts if count)
    print(f"| {name} | {len(paths)} | {with_words} | {sum(counts)} | {fast:.0f} |", flush=True)


def text(found: Transcript) -> str:
    return " ".join(caption.text for caption in found.captions)


def words(text: str) -> list[str]:
    """Return words without case and punctuation, digits spelt: F two is written F2."""
    apart = re.sub(r"\d", lambda digit: f" {DIGITS[int(digit[0])]} ", text.lower())
    return re.findall(r"[\w']+", apart)


def distance(truth: Sequence[str], heard: Sequence[str]) -> int:
    """Return the least number of words to replace, leave out or add (Levenshtein 1966)."""
    row = [*range(len(heard) + 1)]
    for i, wanted in enumerate(truth, start=1):
        before, row[0] = row[0], i
        for j, got in enumerate(heard, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (wanted != got))
    return row[-1]


def by_speaker(folder: Path) -> dict[str, list[Path]]:
    speakers: dict[str, list[Path]] = defaultdict(list)
    with (folder / "clips.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            speakers[row["group"]].append(folder / row["path"])
    return speakers


def join(folder: str, name: str, clips: Sequence[Path]) -> Path:
    blocks = (block.samples for clip in clips for block in iter_audio(clip, SAMPLE_RATE))
    return write(folder, name, np.concatenate([*blocks]))


def write(folder: str, name: str, samples: np.ndarray) -> Path:
    """Write float32 [N] at 16 kHz as WAV."""
    path = Path(folder, f"{name}.wav")
    with wave.open(os.fspath(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes((samples * FULL_SCALE).astype("<i2").tobytes())
    return path


if __name__ == "__main__":
    main()
