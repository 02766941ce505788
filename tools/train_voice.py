"""Make models/sentiment/voice: a head for seven emotions on the networks of convert_speech.py.

    VMM_DATA=DATA python tools/train_voice.py --networks FILE --out models/sentiment/voice

DATA/voices holds clips.csv (path, label, group: the speaker) and the clips it names. FILE is what
tools/convert_speech.py wrote, or the bundle's own weights.safetensors: only the head is trained.
The head is linear: multinomial logistic regression or linear discriminant analysis, whichever with
how much regularisation is best when each speaker is left out in turn. For what metrics.json says
all this is done again for each speaker, without that speaker. Takes some minutes on two cores.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.write_graphs import graphs_of
from vmm_cli import bundles
from vmm_cli.features.speech import (
    BLOCKS,
    KIND,
    SpeechNetworks,
    log_mel,
    speech_features,
    voiced_pieces,
)
from vmm_cli.features.speech_networks import in_torch
from vmm_cli.media.video import Video
from vmm_cli.training.metrics.classes import score

SUMMARY = "anger, boredom, disgust, fear, happiness, sadness, neutral"
DEMONSTRATION = "learnt from research data, 408 German sentences that 8 actors spoke"
LICENCE = {
    "code": "Apache-2.0",
    "weights": "MIT (silero-vad, Whisper tiny.en); the head Apache-2.0",
    "data": "trained on research data (EmoDB, Burkhardt et al. 2005): licence for other use "
    "not confirmed",
}
TEMPERATURES = (0.05, 20.0)


# --- voices --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Voices:
    """Clips, N of them, and their voiced pieces, P.

    Attributes:
        labels: in the order of the alphabet, C.
        truth: int [N], places in `labels`.
        speakers: [N].
        clip: int [P], which clip each piece is of.
        spoken_s: float [P], seconds of speech in it.
        features: float64 [P, 768].
        log_mel: float64 [P, 160], mean and deviation of each of 80 bands.
    """

    labels: tuple[str, ...]
    truth: np.ndarray
    speakers: np.ndarray
    clip: np.ndarray
    spoken_s: np.ndarray
    features: np.ndarray
    log_mel: np.ndarray


def read_voices(folder: Path, networks: SpeechNetworks) -> Voices:
    """Return the clips of a folder as the networks hear them."""
    with (folder / "clips.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    pieces = [
        (i, piece)
        for i, row in enumerate(rows)
        for piece in voiced_pieces(networks, Video(folder / row["path"]))
    ]
    clip = np.array([i for i, _ in pieces])
    if silent := set(range(len(rows))).difference(clip.tolist()):
        sys.exit(f"nobody speaks in {', '.join(rows[i]['path'] for i in sorted(silent))}")
    labels = tuple(sorted({row["label"] for row in rows}))
    spectra = [log_mel(piece.samples) for _, piece in pieces]
    return Voices(
        labels,
        np.array([labels.index(row["label"]) for row in rows]),
        np.array([row["group"] for row in rows]),
        clip,
        np.array([piece.spoken_s for _, piece in pieces]),
        np.array([speech_features(networks, piece.samples) for _, piece in pieces], np.float64),
        np.array([np.concatenate([s.mean(axis=1), s.std(axis=1)]) for s in spectra], np.float64),
    )


# --- heads ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Head:
    """Features -> logits: weight [C, D], bias [C]; the scaling of features is in them."""

    weight: np.ndarray
    bias: np.ndarray


def fit(model: Callable[[], Any], features: np.ndarray, truth: np.ndarray) -> Head:
    """Return what a linear classifier of scikit-learn learns from features of scale 1."""
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    with warnings.catch_warnings():  # what some more steps would change is in the third decimal
        warnings.simplefilter("ignore", ConvergenceWarning)
        learnt = model().fit((features - mean) / deviation, truth)
    weight = learnt.coef_ / deviation
    return Head(weight, learnt.intercept_ - weight @ mean)


REGRESSION = "logistic regression, C={:g}"
DISCRIMINANT = "linear discriminant analysis, shrinkage {:g}"
# What a head is chosen among. The shrinkage is that of Friedman 1989 towards the identity.
MODELS: Mapping[str, Callable[[], Any]] = {
    REGRESSION.format(c): partial(LogisticRegression, C=c, max_iter=500) for c in (0.01, 0.1, 1)
} | {
    DISCRIMINANT.format(s): partial(LinearDiscriminantAnalysis, solver="lsqr", shrinkage=s)
    for s in (0.6, 0.7, 0.8, 0.9)
}


def logits_of(head: Head, features: np.ndarray, voices: Voices, clips: np.ndarray) -> np.ndarray:
    """Return the logits of some clips [n, C]: the mean over a clip's pieces, by how much is spoken.

    `features`: of all pieces [P, D]; `clips`: bool [N].
    """
    of_pieces = features @ head.weight.T + head.bias  # [P, C]
    sums = np.zeros((len(clips), len(head.bias)))
    np.add.at(sums, voices.clip, of_pieces * voices.spoken_s[:, None])
    spoken = np.bincount(voices.clip, voices.spoken_s, len(clips))
    whole: np.ndarray = (sums / spoken[:, None])[clips]
    return whole


class LeftOut:
    """The logits of speakers by heads that did not hear them; each head is fitted once."""

    def __init__(self, voices: Voices, features: np.ndarray) -> None:
        self._voices, self._features = voices, features
        self._heads: dict[tuple[str, frozenset[str]], Head] = {}

    def logits(self, model: str, speaker: str, *others: str) -> np.ndarray:
        """Return the logits of a speaker's clips, [n, C], heard without that one and `others`."""
        voices = self._voices
        key = (model, frozenset({speaker, *others}))
        if key not in self._heads:
            learning = ~np.isin(voices.speakers, list(key[1]))[voices.clip]
            truth = voices.truth[voices.clip]
            self._heads[key] = fit(MODELS[model], self._features[learning], truth[learning])
        return logits_of(self._heads[key], self._features, voices, voices.speakers == speaker)

    def choose(self, *without: str) -> tuple[str, float, np.ndarray, np.ndarray]:
        """Return model and temperature that are best with each speaker left out in turn.

        Speakers `without` have no part in it. Best is the highest mean of accuracy and unweighted
        average recall; the temperature is that of the highest likelihood. With them come the
        logits of all speakers [n, C] and the truth [n].
        """
        voices = self._voices
        speakers = [s for s in sorted(set(voices.speakers)) if s not in without]
        truth = np.concatenate([voices.truth[voices.speakers == s] for s in speakers])
        found = {
            model: np.concatenate([self.logits(model, s, *without) for s in speakers])
            for model in MODELS
        }
        best = max(found, key=lambda model: sum(accuracy_and_recall(found[model], truth)))
        return best, temperature(found[best], truth), found[best], truth


def accuracy_and_recall(logits: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Return the accuracy and the unweighted average recall."""
    right = logits.argmax(axis=1) == truth
    return float(right.mean()), float(np.mean([right[truth == c].mean() for c in np.unique(truth)]))


def temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """Return what logits are to be divided by, so that the truth is most likely.

    Guo et al. 2017, On Calibration of Modern Neural Networks, 4.2.
    """

    def loss(log_t: float) -> float:
        chances = log_softmax(logits / np.exp(log_t), axis=1)
        return -float(chances[np.arange(len(truth)), truth].sum())

    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(found.x))


# --- measuring -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Measured:
    """What is said of clips by heads for which model and temperature were chosen without them.

    models, temperatures: by speaker. logits: [N, C], not yet divided. calibrated: probabilities
    [N, C] after it.
    """

    models: Mapping[str, str]
    temperatures: Mapping[str, float]
    logits: np.ndarray
    calibrated: np.ndarray


def measure(voices: Voices, left_out: LeftOut) -> Measured:
    """Leave each speaker out in turn, and choose everything among the others."""
    models, temperatures = {}, {}
    logits = np.zeros((len(voices.truth), len(voices.labels)))
    calibrated = np.zeros_like(logits)
    for speaker in sorted(set(voices.speakers.tolist())):
        models[speaker], temperatures[speaker], _, _ = left_out.choose(speaker)
        clips = voices.speakers == speaker
        logits[clips] = left_out.logits(models[speaker], speaker)
        calibrated[clips] = softmax(logits[clips] / temperatures[speaker], axis=1)
    return Measured(models, temperatures, logits, calibrated)


def metrics_of(voices: Voices, measured: Measured) -> dict[str, Any]:
    """Return what metrics.json says, of speakers that were left out."""
    groups = voices.speakers.tolist()
    before, after = (
        score(voices.labels, p, voices.truth, groups=groups, multi_label=False)
        for p in (softmax(measured.logits, axis=1), measured.calibrated)
    )
    return {
        "left_out": "each speaker in turn; model and temperature chosen among the others",
        "samples": len(groups),
        "speakers": len(set(groups)),
        "test": after,
        "ece_before": before["ece"],
        "ece_after": after["ece"],
        "chosen": {
            speaker: {"model": model, "temperature": round(measured.temperatures[speaker], 3)}
            for speaker, model in measured.models.items()
        },
    }


# --- the bundle ----------------------------------------------------------------------------------


def bundle_fields(labels: Sequence[str], by_temperature: float) -> dict[str, Any]:
    return {
        "name": "sentiment/voice",
        "version": 1,
        "summary": SUMMARY,
        "demonstration": DEMONSTRATION,
        "task": "valence",
        "streams": ["voice"],
        "encoders": {},
        "network": {"kind": KIND, "blocks": BLOCKS, "outputs": len(labels)},
        "sampling": {"every_s": 1.0, "free": False},
        "thresholds": {"temperature": round(by_temperature, 4)},
        "licence": LICENCE,
        "labels": list(labels),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the bundled model `sentiment/voice`.")
    parser.add_argument("--networks", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if "VMM_DATA" not in os.environ:
        sys.exit("VMM_DATA is not set: it names the folder that holds voices/")
    torch.set_num_threads(1)
    tensors = {k: v for k, v in load_file(arguments.networks).items() if not k.startswith("head.")}
    voices = read_voices(Path(os.environ["VMM_DATA"]) / "voices", in_torch(tensors))
    left_out = LeftOut(voices, voices.features)
    metrics = metrics_of(voices, measure(voices, left_out))
    model, by_temperature, _, _ = left_out.choose()
    head = fit(MODELS[model], voices.features, voices.truth[voices.clip])
    metrics["head"] = {"model": model, "temperature": round(by_temperature, 4)}
    stored = tensors | {
        "head.weight": head.weight.astype(np.float32),
        "head.bias": head.bias.astype(np.float32),
    }
    saved = bundles.save(arguments.out, bundle_fields(voices.labels, by_temperature), stored)
    bundles.add_graphs(saved, graphs_of(saved))
    (arguments.out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    (arguments.out / "CARD.md").write_text(card(metrics))
    print(f"{arguments.out}: {saved.weights_digest}")


def card(metrics: Mapping[str, Any]) -> str:
    """Return the card as Markdown."""
    test = metrics["test"]
    speakers = test["per_group"].values()
    recalls = {label: numbers["recall"] for label, numbers in test["per_class"].items()}
    return CARD.format(
        n=metrics["samples"],
        labels=", ".join(test["per_class"]),
        speakers=metrics["speakers"],
        counts=", ".join(f"{n['support']} {label}" for label, n in test["per_class"].items()),
        model=metrics["head"]["model"],
        temperature=metrics["head"]["temperature"],
        accuracy=test["accuracy"],
        uar=test["balanced_accuracy"],
        worst=min(one["accuracy"] for one in speakers),
        best=max(one["accuracy"] for one in speakers),
        recalls=", ".join(f"{label} {recall:.2f}" for label, recall in recalls.items()),
        before=metrics["ece_before"],
        after=metrics["ece_after"],
    )


CARD = """\
# sentiment/voice: how does somebody speak?

**A demonstration, trained on research data**: {n} German sentences that {speakers} actors spoke as
if they felt something.

**For** one of the three kinds of evidence of `vmm sentiment`: for each stretch of speech, at most
six seconds long, a probability of
{labels}.
The fusion counts boredom as neutral.

**Not for** telling what a person feels, least of all where something hangs on it: a voice is not a
feeling, actors overdo it, and nobody here spoke freely. In the European Union inferring emotions at
work and in schools is prohibited but for medical and safety reasons (Regulation 2024/1689, article
5 (1) f).

## What it is

silero-vad's network says for each 32 ms whether somebody speaks; stretches of it, with 0.2 s on
either side, go through the two convolutions and the first two blocks of the encoder of Whisper
tiny.en. Mean and standard deviation of the states over time, 768 numbers, go to a linear head:
{model}, logits divided by the temperature {temperature:g}. The
encoder's weights are fp16, as they came; those of the voice detection fp32. Only the head was
trained here.

## What it was trained on

The Berlin Database of Emotional Speech (EmoDB; F. Burkhardt, A. Paeschke, M. Rolfes, W. Sendlmeier,
B. Weiss: A Database of German Emotional Speech, Interspeech 2005), {speakers} of its ten actors,
clips of two seconds:
{counts}.
Ten everyday sentences without meaning for the emotion, spoken in an anechoic room. The data are
free for research; a licence for other use is not confirmed.

## How good it is

Each speaker left out in turn, with model, regularisation and temperature chosen among the others:
accuracy {accuracy:.3f}, unweighted average recall {uar:.3f}; by speaker the accuracy is {worst:.2f}
to {best:.2f}. What surrounds a stretch and which kinds of head are tried was found on the same
speakers, so this is a little too good. One choice was even taken back after figures like these had
been seen: with every piece brought to one loudness, no worse when chosen, they were a little lower.
Recall:
{recalls}.
Expected calibration error (15 bins) {before:.3f} before and {after:.3f} after dividing by the
temperature. The model in this folder learnt from all speakers; it was measured on none. {speakers}
speakers are too few for an interval. `python -m benchmarks.voices` of vmm-cli prints all this, and
what other features reach.

## Limits

Other languages, free speech, rooms that sound, telephones, music under the voice and other
microphones were not heard in training and not measured; expect far less there, and probabilities
that are too sure. Calm reading is boredom or sadness to it, and a quiet recording a little more so.
Surprise is none of its labels. It does not tell apart who speaks. The speakers were adults of 21 to
35 years.

## Licence and notices

The head: Apache License 2.0, made by `tools/train_voice.py` of vmm-cli. None of the recordings is
in this folder. The networks were converted by `tools/convert_speech.py`; their notices, both MIT,
are in `NOTICE`.
"""

if __name__ == "__main__":
    main()
