"""`vmm transcribe`: its options, and what of a transcript a record says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.squares import squares_clip
from vmm_cli.cli.app import run
from vmm_cli.errors import ModelError, OptionError
from vmm_cli.features import transcript
from vmm_cli.features.transcript import PACKAGED, Transcript, transcribe
from vmm_cli.media.captions import Caption
from vmm_cli.media.video import Video
from vmm_cli.operations.transcribe import (
    TranscribeOptions,
    Transcription,
    cells,
    parse_language,
    prepare,
)

needs_the_extra = pytest.mark.extra("speech")


@pytest.mark.skipif(
    importlib.util.find_spec("faster_whisper") is not None, reason="the extra is installed"
)
def test_without_the_extra_one_line_says_what_to_do(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(["transcribe", str(squares_clip(tmp_path / "a.mp4", sound=True))]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("speech recognition: not installed")
    assert "pip install 'vmm-cli[speech]'" in line


def test_a_language_is_a_code() -> None:
    assert parse_language(" DE ") == "de"
    for word in ("german", "d", "", "e1"):
        with pytest.raises(ValueError, match="is no language code"):
            parse_language(word)


@needs_the_extra
def test_the_recogniser_knows_english_alone_and_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="knows English alone"):
        prepare(TranscribeOptions(language="de"))
    with pytest.raises(ModelError, match="hf download"):
        prepare(TranscribeOptions(model=tmp_path / "none"))
    packaged = transcript.recogniser_folder(None)
    prepared, own = prepare(TranscribeOptions()), prepare(TranscribeOptions(model=packaged))
    assert prepared.takes_sound
    assert (prepared.work.job.name, own.work.job.name) == (PACKAGED, packaged.name)
    assert prepared.model_digest == own.model_digest
    assert own.memory_bytes > prepared.memory_bytes


def record_of(said: Transcript) -> dict[str, Any]:
    return Transcription(10.0, PACKAGED, said).to_record()


def test_what_a_record_says() -> None:
    caption = Caption(0.5, 2.00049, "Hello.", "speech", "en")
    record = record_of(Transcript("en", (caption,), ((4.0, 6.0),), 0.9876543, 10.0))
    assert record["segments"] == [{"start_s": 0.5, "end_s": 2.0, "text": "Hello."}]
    assert (record["language"], record["language_probability"]) == ("en", 0.98765)
    assert record["not_understood"] == [{"start_s": 4.0, "end_s": 6.0}]
    assert record["warnings"] == ["speech from 4.0 to 6.0 s was not understood"]
    assert len([*cells(record)]) == 1

    found = Transcription(10.0, PACKAGED, Transcript("en", (caption, caption), (), None, 10.0))
    assert (found.text, found.language) == ("Hello. Hello.", "en")
    assert repr(found) == "Transcription('Hello. Hello.')"

    record = record_of(Transcript(None, (), (), None, 10.0))
    assert record["language"] is None and "warnings" not in record
    assert [*cells(record)] == [("(nothing said)",)]

    record = record_of(Transcript("", (), ((1.0, 9.0),), None, 10.0))
    assert record["language"] is None
    (warning,) = record["warnings"]
    assert "not understood as English; tiny.en knows English alone" in warning
    assert [*cells(record)] == [("(not understood)",)]


class Multilingual:
    """A recogniser of several languages, as faster-whisper's WhisperModel is called."""

    model = SimpleNamespace(is_multilingual=True)
    supported_languages = ("de", "en", "fr")

    def detect_language(self, speech: np.ndarray) -> tuple[str, float, list[Any]]:
        return "de", 0.8, []

    def transcribe(self, speech: np.ndarray, *, language: str, **how: Any) -> tuple[list[Any], Any]:
        phrase = {"start": 0.0, "end": 1.0, "text": f" In {language}.", "seek": 0}
        sure = {"avg_logprob": -0.3, "compression_ratio": 1.0}
        return [SimpleNamespace(**phrase, **sure)], None


@pytest.fixture
def multilingual(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Video:
    """A second of sound, all of it speech to a recogniser of several languages."""
    monkeypatch.setattr(transcript, "recogniser_folder", lambda model: Path("many"))
    monkeypatch.setattr(transcript, "_network", lambda folder, sha256: Multilingual())
    monkeypatch.setattr(transcript, "_speech_in", lambda samples, **how: [(0, len(samples))])
    return Video(squares_clip(tmp_path / "a.mp4", sound=True))


def test_a_recogniser_of_several_languages_tells_which(multilingual: Video) -> None:
    said = transcribe(multilingual)
    assert (said.language, said.probability) == ("de", 0.8)
    assert [(one.text, one.language) for one in said.captions] == [("In de.", "de")]
    said = transcribe(multilingual, language="fr")
    assert (said.language, said.probability, said.captions[0].text) == ("fr", None, "In fr.")
    with pytest.raises(ModelError, match="language 'xx': many does not know it"):
        transcribe(multilingual, language="xx")


def test_only_one_language_is_written_down_where_that_is_asked(multilingual: Video) -> None:
    said = transcribe(multilingual, only="en")
    assert (said.language, said.captions) == ("de", ())
    assert transcribe(multilingual, language="en", only="en").captions[0].text == "In en."
