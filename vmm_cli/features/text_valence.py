"""How pleasant sentences are: a network on MiniLM's inner states, or VADER's word list alone.

MiniLM's lower three blocks read the tokens, as the packaged ONNX file has them. The network goes on
with copies of the next two that were tuned for this (the last of MiniLM say what a text is about,
and less how it is meant), and reads VADER's scores beside them.

Without the extra `sentences` VADER alone is read, which needs no network.

Source: Hutto and Gilbert 2014, VADER: A Parsimonious Rule-based Model for Sentiment Analysis of
Social Media Text; Wang et al. 2020, MiniLM.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

from vmm_cli import bundles, progress
from vmm_cli.bundles import Bundle
from vmm_cli.engines.graph import Port, Ports, Run, graph_of
from vmm_cli.errors import ModelError
from vmm_cli.features import sentences
from vmm_cli.features.extras import NotInstalledError
from vmm_cli.networks.pretrained.shapes import TOKEN_WIDTH

KIND = "text_valence"
LAYER = "layer_norm_6"  # the ONNX file's name of what the third block gives
VADER_WIDTH = 6
LONGEST_REASON = 300  # characters, of what torch says of a network that it cannot make
# The network: names and shapes of what it takes and gives.
GRAPH = "valence"
TAKES: Ports = {"states": Port((1, None, TOKEN_WIDTH)), "scores": Port((1, VADER_WIDTH))}
GIVES: Ports = {"logits": Port((1,))}

ENOUGH_WORDS = 4.0  # so many words have half of the confidence of many


@dataclass(frozen=True, eq=False)
class Reading:
    """What was read of N texts.

    Attributes:
        valence: float32 [N], from -1 to 1.
        confidence: float32 [N], from 0 to 1.
        reader: "sentences" or "vader".
        remark: why it was not the better one; None where it was.
        is_damaged: whether the better one is installed, and cannot be used.
    """

    valence: np.ndarray
    confidence: np.ndarray
    reader: str
    remark: str | None = None
    is_damaged: bool = False


def read_valence(texts: Sequence[str], bundle: Bundle) -> Reading:
    """Say how pleasant each text is, from -1 to 1: an estimate of people's mean rating over 4.

    Confidence is words / (words + 4), where VADER is alone and knows none of the words half of it.

    Raises:
        ModelError: the bundle is damaged, or not of this kind.
    """
    scores = vader_features(texts)
    counts = np.array([len(re.findall(r"\w+", text)) for text in texts], np.float32)
    confidence = counts / (counts + np.float32(ENOUGH_WORDS))
    try:
        states = [token_states(text) for text in texts]
    except ModelError as error:
        confidence = np.where(scores[:, 1] == 0, confidence / 2, confidence)
        valence = scores[:, 0] * _threshold(bundle, "vader_scale")
        remark = f"read by VADER alone: {error}"
        damaged = not isinstance(error, NotInstalledError)
        return Reading(_bounded(valence), confidence, "vader", remark, damaged)
    network = _network(bundle.folder, bundle.digest)
    pairs = zip(states, scores, strict=True)
    logits = np.array([_logit(network, pieces, row) for pieces, row in pairs], np.float32)
    valence = np.tanh(logits * _threshold(bundle, "valence_scale"))
    return Reading(_bounded(valence), confidence, "sentences")


def _logit(network: Run, pieces: Sequence[np.ndarray], scores: np.ndarray) -> float:
    """Return how much speaks for pleasant, the mean over the pieces of a text by their lengths."""
    logits = [float(network(piece[None], scores[None])[0][0]) for piece in pieces]
    return float(np.average(logits, weights=[len(piece) for piece in pieces]))


def _bounded(valence: np.ndarray) -> np.ndarray:
    bounded: np.ndarray = np.clip(valence, -1, 1).astype(np.float32)
    return bounded


def _threshold(bundle: Bundle, name: str) -> float:
    if name not in bundle.thresholds:
        raise ModelError(f"{bundle.folder}: is no model for texts: it has no {name}")
    return float(bundle.thresholds[name])


@lru_cache(maxsize=2)
@progress.loading()
def _network(folder: Path, digest: str) -> Run:
    """Return the network: states [1, L, 384] and scores [1, 6], float32 -> (logits [1],)."""
    bundle = bundles.read(folder)
    if bundle.network.get("kind") != KIND:
        raise ModelError(f"{folder}: is no model for texts")
    weights = bundles.load_weights(bundle)
    run = graph_of(bundle, GRAPH, inputs=TAKES, outputs=GIVES, weights=weights)
    if run is not None:
        return run
    from vmm_cli.features.text_network import in_torch  # imports torch, which takes a second

    try:
        return in_torch(bundle.network, weights.tensors())
    except ValueError as error:
        reason = shorten(str(error), LONGEST_REASON, placeholder=" ...")
        raise ModelError(f"{folder}: is no model for texts: {reason}") from None


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


def known_words(text: str) -> bool:
    """Tell whether VADER rates a word of a text."""
    said = _vader().polarity_scores(text)
    return bool(said["pos"] or said["neg"])


@lru_cache(maxsize=1)
def _vader() -> Any:
    return importlib.import_module("vaderSentiment.vaderSentiment").SentimentIntensityAnalyzer()


def token_states(text: str) -> list[np.ndarray]:
    """Return what MiniLM's third block gives for a text's tokens: float32 [L, 384] for each piece.

    There is one piece for each 254 tokens of the text, and two tokens more in each.

    Raises:
        NotInstalledError, ModelError: as `sentence_embeddings`.
    """
    session, tokenizer = _lower_blocks()
    encoding = tokenizer.encode(text)
    pieces = (encoding, *encoding.overflowing)
    return [sentences.states_of(session, piece.ids, LAYER) for piece in pieces]


@lru_cache(maxsize=1)
@progress.loading()
def _lower_blocks() -> tuple[Any, Any]:
    """Return a session that gives `LAYER`, and a tokenizer.

    The blocks above are computed too: that takes a few milliseconds a sentence.
    """
    # Fields that follow a protocol buffer message are merged into it: so an output is added.
    network = sentences.network_bytes() + _output(LAYER)
    return sentences.session_of(network), sentences.tokenizer()


def _output(name: str) -> bytes:
    """Return, as ONNX's ModelProto has it: graph (field 7) { output (12) { name (1) } }."""
    encoded = name.encode()
    for field in (1, 12, 7):
        encoded = bytes([field << 3 | 2, len(encoded)]) + encoded
    return encoded
