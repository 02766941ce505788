"""A file as one handle: what it knows, and how rarely it opens the file."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from vmm_cli.batch import work
from vmm_cli.batch.inputs import Input
from vmm_cli.batch.ledger import Known
from vmm_cli.batch.work import Limits, Look
from vmm_cli.errors import InputError
from vmm_cli.media import source
from vmm_cli.media.extent import video_end_s
from vmm_cli.media.frames import FrameRequest
from vmm_cli.media.probe import probe
from vmm_cli.media.sampling import at
from vmm_cli.media.video import Video
from vmm_cli.operations.classify import CLASSIFY, ClassifyOptions
from vmm_cli.operations.detect_actions import DETECT_ACTIONS, DetectOptions
from vmm_cli.operations.operation import Operation
from vmm_cli.operations.sentiment import SENTIMENT, SentimentOptions

Render = Callable[..., Path]


@pytest.fixture
def opens(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were opened, each time."""
    opened: list[str] = []
    open_container = av.open

    def counted(file: Any, *args: Any, **more: Any) -> Any:
        opened.append(str(file))
        return open_container(file, *args, **more)

    monkeypatch.setattr(source.av, "open", counted)
    return opened


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path, opens: list[str]) -> None:
    video = Video(tmp_path / "absent.mp4")
    assert opens == []
    with pytest.raises(InputError, match="no such file"):
        assert video.info


def test_what_it_knows_is_what_the_parts_say(bunny: Path, bikes: Path) -> None:
    video = Video(bunny, end=Fraction(3))
    assert video.info == probe(bunny)
    assert video.end_s == video.pictures_end_s == video_end_s(bunny)
    assert video.until_s == 3
    assert video.has_sound and not Video(bikes).has_sound
    assert video.duration_s == pytest.approx(video.info.duration_s)
    shown = list(video.frames([FrameRequest("one", at([Fraction(1)]))]))
    assert [frame.request for frame in shown] == ["one"]
    assert next(video.audio(16000)).time_s == 0


def test_sound_alone_ends_where_it_ends(tmp_path: Path, bunny: Path) -> None:
    alone = tmp_path / "a.wav"
    with av.open(str(alone), "w") as out, av.open(str(bunny)) as container:
        stream = out.add_stream("pcm_s16le", rate=16000, layout="mono")
        resampler = av.AudioResampler("s16", "mono", 16000)
        for frame in container.decode(audio=0):
            for part in resampler.resample(frame):
                out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    video = Video(alone)
    assert float(video.end_s) == pytest.approx(video.duration_s)
    with pytest.raises(InputError, match="no video"):
        assert video.pictures_end_s


def test_a_part_behind_the_end_is_told(bikes: Path) -> None:
    with pytest.raises(InputError, match=r"nothing lies at 60 s: the video ends at 10\.000 s"):
        assert Video(bikes, start=Fraction(60)).until_s


def test_a_file_that_changes_is_another(tmp_path: Path, bikes: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(bikes.read_bytes())
    video = Video(path)
    assert video.identity and video.is_unchanged()
    path.write_bytes(bikes.read_bytes()[:-1])
    assert not video.is_unchanged()


# --- how often a command opens a file ------------------------------------------------------------


@contextmanager
def fresh(path: Path, tmp_path: Path) -> Iterator[Input]:
    """An input that nothing is remembered of."""
    copy = tmp_path / f"copy{path.suffix}"
    copy.write_bytes(path.read_bytes())
    yield Input(copy, copy.name, copy.name)


def done(operation: Operation[Any, Any, Any, Any], options: Any, input: Input) -> dict[str, Any]:
    """Do all that a worker does with an input."""
    what = operation.prepare(options).work
    look = Look(what, 1, Limits(source.DEFAULT_MAX_PIXELS))
    prepared = work.prepare(look, input, Known())
    part = prepared.parts[0] if prepared.parts else None
    return work.informed(input.path, prepared.known, work.run_whole, what, input, part).value


@pytest.mark.parametrize(("model", "at_most"), [("imagenet", 2), ("fights", 2), ("falls", 2)])
def test_pictures_are_decoded_in_one_opening(
    bunny: Path, tmp_path: Path, own_cache: None, opens: list[str], model: str, at_most: int
) -> None:
    operation: Operation[Any, Any, Any, Any] = CLASSIFY
    options: Any = ClassifyOptions(model=model, device="cpu")
    if model == "imagenet":
        options = replace(options, every=Fraction(2))
    elif model == "falls":
        operation, options = DETECT_ACTIONS, DetectOptions(model=model)
    with fresh(bunny, tmp_path) as input:
        record = done(operation, options, input)
    assert record["duration_s"] > 5
    assert 0 < len(opens) <= at_most


def test_sentiment_opens_a_file_four_times(
    bunny: Path, tmp_path: Path, own_cache: None, opens: list[str]
) -> None:
    with fresh(bunny, tmp_path) as input:
        record = done(SENTIMENT, SentimentOptions(), input)
    assert record["duration_s"] > 5
    # Speech, where it can be recognised, is heard in a decode of its own.
    recognised = importlib.util.find_spec("faster_whisper") is not None
    assert 0 < len(opens) <= (5 if recognised else 4)
