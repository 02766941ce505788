"""How well emotions are heard: the tables of docs/results.md.

    python -m benchmarks.voices           # each speaker of $VMM_DATA/voices left out in turn
    python -m benchmarks.voices speed     # ten minutes of $VMM_DATA/talking_heads, one thread

For each speaker model, regularisation and temperature of our head are chosen among the others. The
other rows are scikit-learn's logistic regression as it comes, on the same pieces of the clips.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import wave
from pathlib import Path

import numpy as np
import torch
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from tools.train_voice import LeftOut, Voices, fit, logits_of, measure, read_voices
from vmm_cli import bundles
from vmm_cli.analysis.sentiment.voice import voice_evidence
from vmm_cli.features.speech import CARRIER, SAMPLE_RATE, load_networks, voiced_pieces
from vmm_cli.media.audio import iter_audio
from vmm_cli.media.video import Video
from vmm_cli.training.metrics.classes import calibration_error, score

LONG_S = 600
FULL_SCALE = 32767


def main() -> None:
    parser = argparse.ArgumentParser(description="Print how well emotions are heard.")
    parser.add_argument("table", choices=("accuracy", "speed"), nargs="?", default="accuracy")
    arguments = parser.parse_args()
    if "VMM_DATA" not in os.environ:
        sys.exit("VMM_DATA is not set: it names the folder that holds voices/ and talking_heads/")
    torch.set_num_threads(1)
    data = Path(os.environ["VMM_DATA"])
    if arguments.table == "accuracy":
        accuracy(data / "voices")
    else:
        speed(data / "talking_heads")


def accuracy(folder: Path) -> None:
    """Print a row for each head: accuracy, average recall, and calibration error."""
    voices = read_voices(folder, load_networks(bundles.read(bundles.find(CARRIER))))
    measured = measure(voices, LeftOut(voices, voices.features))
    rows = {
        "our head": (softmax(measured.logits, axis=1), measured.calibrated),
        "logistic regression, same features": (regression(voices, voices.features), None),
        "logistic regression, log-mel statistics": (regression(voices, voices.log_mel), None),
    }
    print("| head | accuracy | UAR | accuracy by speaker | ECE | calibrated |")
    print("| --- " * 6 + "|")
    for name, (chances, calibrated) in rows.items():
        say(voices, name, chances, calibrated)


def regression(voices: Voices, features: np.ndarray) -> np.ndarray:
    """Return what scikit-learn's regression says of each speaker, by heads of the others."""
    chances = np.zeros((len(voices.truth), len(voices.labels)))
    for speaker in sorted(set(voices.speakers.tolist())):
        clips = voices.speakers == speaker
        learning = ~clips[voices.clip]
        head = fit(LogisticRegression, features[learning], voices.truth[voices.clip][learning])
        chances[clips] = softmax(logits_of(head, features, voices, clips), axis=1)
    return chances


def say(voices: Voices, name: str, chances: np.ndarray, calibrated: np.ndarray | None) -> None:
    """Print a row of the table."""
    found = score(
        voices.labels, chances, voices.truth, groups=voices.speakers.tolist(), multi_label=False
    )
    by_speaker = [one["accuracy"] for one in found["per_group"].values()]
    after = "" if calibrated is None else f"{calibration_error(calibrated, voices.truth):.3f}"
    print(
        f"| {name} | {found['accuracy']:.3f} | {found['balanced_accuracy']:.3f} "
        f"| {min(by_speaker):.2f} to {max(by_speaker):.2f} | {found['ece']:.3f} | {after} |"
    )


def speed(folder: Path) -> None:
    """Print how many times real time voices are heard in."""
    bundle = bundles.read(bundles.find(CARRIER))
    networks = load_networks(bundle)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "talk.wav"
        write_talk(path, folder)
        print(f"| what, of {LONG_S} s | times real time |\n" + "| --- " * 2 + "|")
        begin = time.perf_counter()
        pieces = sum(1 for _ in voiced_pieces(networks, Video(path)))
        print(
            f"| who speaks when ({pieces} pieces) | {LONG_S / (time.perf_counter() - begin):.0f} |"
        )
        begin = time.perf_counter()
        voice_evidence(Video(path), bundle, keep_features=False)
        print(f"| all | {LONG_S / (time.perf_counter() - begin):.0f} |")


def write_talk(path: Path, folder: Path) -> None:
    """Write what is said in the clips of a folder over and over, ten minutes of 16 kHz."""
    said = [
        block.samples
        for clip in sorted(folder.glob("*.mpg"))
        for block in iter_audio(clip, SAMPLE_RATE)
    ]
    samples = np.resize(np.concatenate(said), LONG_S * SAMPLE_RATE)
    with wave.open(os.fspath(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((samples * FULL_SCALE).astype("<i2").tobytes())


if __name__ == "__main__":
    main()
