"""What is heard, how fast, and what could be told by what is kept: models/sounds/CARD.md.

    OMP_NUM_THREADS=1 python -m benchmarks.sounds speed     # ten minutes of talk, cold
    python -m benchmarks.sounds clips   # the first three sounds of clips of $VMM_DATA
    python -m benchmarks.sounds speech  # how much of what is spoken is called so
    python -m benchmarks.sounds kept    # who speaks, and which sentence, by a linear model

`kept` asks of the clips of $VMM_DATA/voices who of its speakers speaks (the mean over time, on
other sentences than it learnt from), and which of its ten sentences it is (five steps of half a
second, of speakers that it did not learn from), by each encoder of sound.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.voices import LONG_S, write_talk
from vmm_cli import bundles
from vmm_cli.errors import InputError
from vmm_cli.features.catalogue import ENCODERS
from vmm_cli.features.encoder import OfSound
from vmm_cli.features.sounds import CARRIER, sound_features, sound_head, sound_scores
from vmm_cli.features.values import Features
from vmm_cli.media.video import Video

CLIPS = ("fights/clips/*", "falls/videos/*.mp4", "talking_heads/*.mpg", "odd_media/*/*")
CLIPS_OF_EACH = (8, 4, 3, 12)
FIRST = 3
SPEECH_SCORES = (0.1, 0.3, 0.5)
STEP_S, STEPS = 0.5, 8
SPOKEN_STEPS = 5
ENCODERS_OF_VOICES = ("sounds", "log-mel-statistics", "speech")


def main() -> None:
    parser = argparse.ArgumentParser(description="Print what is heard, and how fast.")
    parser.add_argument("table", choices=("speed", "clips", "speech", "kept"))
    arguments = parser.parse_args()
    if "VMM_DATA" not in os.environ:
        sys.exit("VMM_DATA is not set: it names the folder that holds fights/, voices/ and more")
    data = Path(os.environ["VMM_DATA"])
    tables = {"speed": speed, "clips": clips, "speech": speech, "kept": kept}
    tables[arguments.table](data)


def speed(data: Path) -> None:
    """Print how many times real time sounds are heard in: loading and decoding included."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "talk.wav"
        write_talk(path, data / "talking_heads")
        begin, spent = time.perf_counter(), time.process_time()
        model = bundles.read(bundles.find(CARRIER))
        features = sound_features(Video(path), model)
        sound_scores(sound_head(model), features.values)
        took, computed = time.perf_counter() - begin, time.process_time() - spent
    print(f"| what, of {LONG_S} s | times real time |\n" + "| --- " * 2 + "|")
    print(f"| sounds ({len(features)} patches), by the clock | {LONG_S / took:.0f} |")
    print(f"| the same, by CPU time | {LONG_S / computed:.0f} |")


def clips(data: Path) -> None:
    """Print the sounds with the highest mean scores of each clip, and how often each is first."""
    model = bundles.read(bundles.find(CARRIER))
    head = sound_head(model)
    print(f"| clip | seconds | first {FIRST}, by mean score |\n" + "| --- " * 3 + "|")
    for pattern, count in zip(CLIPS, CLIPS_OF_EACH, strict=True):
        for path in heard_in(sorted(data.glob(pattern)), count):
            features = sound_features(Video(path), model)
            scores = sound_scores(head, features.values).mean(axis=0)
            best = np.argsort(-scores, kind="stable")[:FIRST]
            told = ", ".join(f"{head.labels[i]} {scores[i]:.2f}" for i in best)
            name = path.relative_to(data).as_posix()
            print(f"| `{name}` | {float(Video(path).end_s):.1f} | {told} |", flush=True)


def speech(data: Path) -> None:
    """Print how often `Speech` is first where somebody speaks, and how high its scores are."""
    model = bundles.read(bundles.find(CARRIER))
    head = sound_head(model)
    column = head.labels.index("Speech")
    shares = " | ".join(f"patches of {score:g} or more" for score in SPEECH_SCORES)
    print(f"| clips of speech | `Speech` is first | {shares} |")
    print("| --- " * (2 + len(SPEECH_SCORES)) + "|")
    for pattern in ("voices/clips/*.flac", "talking_heads/*.mpg"):
        firsts, patches = [], []
        for path in sorted(data.glob(pattern)):
            scores = sound_scores(head, sound_features(Video(path), model).values)
            firsts.append(scores.mean(axis=0).argmax() == column)
            patches += scores[:, column].tolist()
        reached = [np.mean(np.array(patches) >= score) for score in SPEECH_SCORES]
        cells = " | ".join(f"{share:.0%} of {len(patches)}" for share in reached)
        print(f"| `{pattern}` | {sum(firsts)} of {len(firsts)} | {cells} |", flush=True)


def heard_in(paths: list[Path], count: int) -> list[Path]:
    """Return some files that have sound, evenly over all that have."""
    found = []
    for path in paths:
        try:
            if next(iter(Video(path).audio(16000)), None) is not None:
                found.append(path)
        except (InputError, OSError):
            continue
    return found[:: max(1, len(found) // count)][:count]


# --- what could be told ---------------------------------------------------------------------------


def kept(data: Path) -> None:
    """Print how often a linear model knows speakers and sentences by what encoders give."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    with (data / "voices" / "clips.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    speakers = np.array([row["group"] for row in rows])
    sentences = np.array([Path(row["path"]).stem[2:5] for row in rows])
    print("| encoder | who speaks | which sentence |\n" + "| --- " * 3 + "|")
    for name in ENCODERS_OF_VOICES:
        runs = ENCODERS[name].runs
        assert isinstance(runs, OfSound)
        steps = [steps_of(runs.encode, data / "voices" / row["path"]) for row in rows]
        means = np.stack([values.mean(axis=0) for values in steps])
        whole = np.stack([spoken(values).ravel() for values in steps])
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=300))
        known = [
            cross_val_score(model, values, truth, groups=groups, cv=GroupKFold(5)).mean()
            for values, truth, groups in (
                (means, speakers, sentences),
                (whole, sentences, speakers),
            )
        ]
        print(f"| `{name}` | {known[0]:.2f} | {known[1]:.2f} |", flush=True)
    chances = [1 / len(set(truth.tolist())) for truth in (speakers, sentences)]
    print(f"| chance | {chances[0]:.2f} | {chances[1]:.2f} |")


def steps_of(encode: Callable[..., Features], path: Path) -> np.ndarray:
    """Return what an encoder gives of the first steps of a clip: float32 [T, D]; T >= 1."""
    values = encode(Video(path), np.arange(STEPS) * STEP_S, STEP_S).values
    return values if len(values) else np.zeros((1, values.shape[1]), np.float32)


def spoken(values: np.ndarray) -> np.ndarray:
    """Return the first steps, zeros where there are fewer: float32 [5, D]."""
    first = values[:SPOKEN_STEPS]
    return np.pad(first, ((0, SPOKEN_STEPS - len(first)), (0, 0)))


if __name__ == "__main__":
    main()
