"""How pleasant sentences are: a head on MiniLM's inner states, or VADER's word list alone.

The head is logistic. It adds up the means over the tokens of what MiniLM's third and fourth layer
give (sentiment shows there more than in the last one, which says what a text is about), VADER's
scores, and the words and pairs of words themselves, hashed. How much VADER counts is weighed by the
kind of text: a second head says how much a text is like each of those that were learned from.

Without the extra `sentences` VADER alone is read, which needs no network.

Source: Hutto and Gilbert 2014, VADER: A Parsimonious Rule-based Model for Sentiment Analysis of
Social Media Text; Weinberger et al. 2009, Feature Hashing for Large Scale Multitask Learning.
"""

from __future__ import annotations

import importlib
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from vmm_cli import bundle as bundles
from vmm_cli.bundle import Bundle
from vmm_cli.encoders import sentences
from vmm_cli.errors import ModelError

LAYERS = ("layer_norm_6", "layer_norm_8")  # the ONNX file's names of what layers 3 and 4 give
STATES_WIDTH = len(LAYERS) * sentences.SENTENCE_WIDTH
VADER_WIDTH = 6
HASHES = 2**18  # numbers of words and pairs; of 10,000 snippets few meet in one

ENOUGH_WORDS = 4.0  # so many words have half of the confidence of many

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|[!?]+|[:;]['-]?[()dp]")


@dataclass(frozen=True, eq=False)
class Reading:
    """What was read of N texts.

    Attributes:
        valence: float32 [N], from -1 to 1.
        confidence: float32 [N], from 0 to 1.
        reader: "sentences" or "vader".
        remark: why it was not the better one; None where it was.
    """

    valence: np.ndarray
    confidence: np.ndarray
    reader: str
    remark: str | None


@dataclass(frozen=True, eq=False)
class TextFeatures:
    """What the head reads of N texts.

    Attributes:
        states: float32 [N, 768], MiniLM's layers 3 and 4, each the mean over the tokens.
        vader: float32 [N, 6], see `vader_features`.
        words: for each text the numbers of its words and pairs, int64, each once.
    """

    states: np.ndarray
    vader: np.ndarray
    words: Sequence[np.ndarray]


def read_valence(texts: Sequence[str], bundle: Bundle) -> Reading:
    """Say how pleasant each text is, from -1 to 1: an estimate of people's mean rating over 4.

    Confidence is words / (words + 4), where VADER is alone and knows none of the words half of it.

    Raises:
        ModelError: the bundle is damaged, or not of this kind.
    """
    tensors = _head(bundle.folder, bundle.digest)
    scores = vader_features(texts)
    counts = np.array([len(re.findall(r"\w+", text)) for text in texts], np.float32)
    confidence = counts / (counts + np.float32(ENOUGH_WORDS))
    try:
        states = sentence_states(texts)
    except ModelError as error:
        confidence = np.where(scores[:, 1] == 0, confidence / 2, confidence)
        valence = scores[:, 0] * _threshold(bundle, "vader_scale")
        return Reading(_bounded(valence), confidence, "vader", f"read by VADER alone: {error}")
    features = TextFeatures(states, scores, [word_hashes(text) for text in texts])
    valence = np.tanh(logits(features, tensors) * _threshold(bundle, "valence_scale"))
    return Reading(_bounded(valence), confidence, "sentences", None)


def _bounded(valence: np.ndarray) -> np.ndarray:
    bounded: np.ndarray = np.clip(valence, -1, 1).astype(np.float32)
    return bounded


def _threshold(bundle: Bundle, name: str) -> float:
    if name not in bundle.thresholds:
        raise ModelError(f"{bundle.folder}: is no model for texts: it has no {name}")
    return float(bundle.thresholds[name])


@lru_cache(maxsize=2)
def _head(folder: Path, digest: str) -> Mapping[str, np.ndarray]:
    found = bundles.load_tensors(bundles.read(folder))
    absent = {"states", "vader", "words", "bias", "kind.states", "kind.words", "kind.bias"}
    absent |= {"kind.vader", "kind.offset"}
    if absent - set(found):
        raise ModelError(f"{folder}: is no model for texts: it has no {min(absent - set(found))}")
    return {name: value.astype(np.float32) for name, value in found.items()}


def logits(features: TextFeatures, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return how much speaks for pleasant, as a logit: float32 [N]."""
    kinds = kind_probabilities(features, tensors)  # [N, K]
    plain = features.states @ tensors["states"] + features.vader @ tensors["vader"]
    said = word_sums(features.words, tensors["words"])
    gated = kinds * (features.vader @ tensors["kind.vader"].T + tensors["kind.offset"])
    total: np.ndarray = plain + said + gated.sum(axis=1) + tensors["bias"][0]
    return total


def kind_probabilities(features: TextFeatures, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return how much each text is like each kind that was learned from: float32 [N, K]."""
    columns = [word_sums(features.words, table) for table in tensors["kind.words"]]
    z = features.states @ tensors["kind.states"].T + np.stack(columns, axis=1)
    z = z + tensors["kind.bias"]
    odds = np.exp(z - z.max(axis=1, keepdims=True))
    shares: np.ndarray = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


def word_sums(words: Sequence[np.ndarray], table: np.ndarray) -> np.ndarray:
    """Return the sum of a table's entries over each text's words, over the root of their number."""
    sums = [table[numbers].sum() / max(len(numbers), 1) ** 0.5 for numbers in words]
    return np.array(sums, np.float32)


def word_hashes(text: str) -> np.ndarray:
    """Return the numbers below `HASHES` of a text's words and pairs of words, each once.

    >>> len(word_hashes("Good, good day!"))  # good, day, !, and five pairs with begin and end
    8
    """
    words = _WORD.findall(text.lower())
    edged = ["<s>", *words, "</s>"]
    pairs = [f"{a} {b}" for a, b in pairwise(edged)]
    return np.unique(np.array([zlib.crc32(w.encode()) % HASHES for w in words + pairs], np.int64))


def vader_features(texts: Sequence[str]) -> np.ndarray:
    """Return VADER's scores: float32 [N, 6].

    Its compound score, the sign of that, the sum of word ratings it was made of (over 4, at most
    3 either way), and the shares of pleasant, unpleasant and neutral words.
    """
    rows = np.zeros((len(texts), VADER_WIDTH), np.float32)
    for row, text in zip(rows, texts, strict=True):
        said = _vader().polarity_scores(text)
        compound = said["compound"]
        # compound = sum / sqrt(sum^2 + 15), Hutto and Gilbert's normalisation
        total = compound * (15 / max(1 - compound**2, 1e-6)) ** 0.5
        row[:] = (
            compound,
            np.sign(compound),
            np.clip(total, -12, 12) / 4,
            said["pos"],
            said["neg"],
            said["neu"],
        )
    return rows


@lru_cache(maxsize=1)
def _vader() -> Any:
    return importlib.import_module("vaderSentiment.vaderSentiment").SentimentIntensityAnalyzer()


def sentence_states(texts: Sequence[str]) -> np.ndarray:
    """Return MiniLM's layers 3 and 4, each the mean over a text's tokens: float32 [N, 768].

    Raises:
        ModelError: as `sentence_embeddings`.
    """
    session, tokenizer = _inner_model()
    states = np.zeros((len(texts), STATES_WIDTH), np.float32)
    for row, text in zip(states, texts, strict=True):
        encoding = tokenizer.encode(text)
        pieces = [piece.ids for piece in (encoding, *encoding.overflowing)]
        found = [np.concatenate(_layers(session, ids), axis=1) for ids in pieces]
        row[:] = np.concatenate(found).mean(axis=0)
    return states


def _layers(session: Any, ids: Sequence[int]) -> list[np.ndarray]:
    """Return what each of `LAYERS` gives: L token ids -> float32 [L, 384] each."""
    tokens = np.array([ids], np.int64)
    inputs = {
        "input_ids": tokens,
        "attention_mask": np.ones_like(tokens),
        "token_type_ids": np.zeros_like(tokens),
    }
    return [states[0] for states in session.run(list(LAYERS), inputs)]


@lru_cache(maxsize=1)
def _inner_model() -> tuple[Any, Any]:
    """Return a session that gives `LAYERS`, and a tokenizer; higher layers are not computed."""
    # Fields that follow a protocol buffer message are merged into it: so outputs are added.
    network = sentences.network_bytes() + b"".join(map(_output, LAYERS))
    return sentences.session_of(network), sentences.tokenizer()


def _output(name: str) -> bytes:
    """Return, as ONNX's ModelProto has it: graph (field 7) { output (12) { name (1) } }."""
    encoded = name.encode()
    for field in (1, 12, 7):
        encoded = bytes([field << 3 | 2, len(encoded)]) + encoded
    return encoded
