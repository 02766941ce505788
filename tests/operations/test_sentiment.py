"""The record of `vmm sentiment`, from what experts or a trained network say."""

from __future__ import annotations

import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vmm_cli import bundles
from vmm_cli.analysis.sentiment.evidence import (
    EMOTIONS,
    EXPERTS,
    Evidence,
    Missing,
    nothing,
    valence_of,
)
from vmm_cli.analysis.sentiment.face import FacesSeen
from vmm_cli.analysis.sentiment.fusion import read_fusion
from vmm_cli.analysis.sentiment.text import TextRead
from vmm_cli.analysis.sentiment.voice import VoiceHeard
from vmm_cli.batch.inputs import Input
from vmm_cli.bundles import Bundle
from vmm_cli.errors import InputError, ModelError
from vmm_cli.inference.valence import RatedWindows
from vmm_cli.media.captions import Caption
from vmm_cli.operations.sentiment import SentimentOptions, finish, job_of, plan
from vmm_cli.operations.sentiment_result import Job, PartResult

CLIP = Input(Path("a.mp4"), "a.mp4", "a.mp4")


def observed(expert: str, emotion: str, *spans: tuple[float, float]) -> Evidence:
    """Observations of one emotion at 0.88, the others alike."""
    emotions = tuple(e for e in EMOTIONS if expert == "face" or e != "surprise")
    row = [0.88 if name == emotion else 0.12 / (len(emotions) - 1) for name in emotions]
    chances = np.array([row] * len(spans), np.float32)
    start, end = np.array(spans).T
    sure = np.full(len(spans), 0.5, np.float32)
    return Evidence(expert, emotions, start, end, chances, valence_of(chances, emotions), sure)


def faces(emotion: str, times: list[float], people: list[int]) -> FacesSeen:
    evidence = observed("face", emotion, *((t, t) for t in times))
    return FacesSeen(evidence, np.array(people, np.int32), np.zeros((len(times), 4)), None)


def words(text: str, valence: float, start_s: float, end_s: float) -> TextRead:
    few = np.array([valence], np.float32), np.array([0.5], np.float32)
    spans = np.array([start_s]), np.array([end_s])
    evidence = Evidence("text", (), *spans, np.empty((1, 0), np.float32), *few)
    caption = Caption(start_s, end_s, text, "sidecar")
    return TextRead(evidence, (caption,), "captions", "vader", None, (), ("one is damaged",))


NO_FACE = FacesSeen(
    nothing("face", EMOTIONS),
    np.empty(0, np.int32),
    np.empty((0, 4), np.float32),
    Missing("no_face", "no face is seen"),
)
NO_VOICE = VoiceHeard(nothing("voice", EMOTIONS), Missing("no_audio", "it has no sound"))
NO_TEXT = TextRead(nothing("text", ()), (), "", "", Missing("no_text", "no captions"), ())


def wanted(model: Bundle | None = None, **more: Any) -> Job:
    return job_of(SentimentOptions(**more), model)


def record_of(job: Job, input: Input, parts: list[PartResult]) -> dict[str, Any]:
    return finish(job, input, parts).to_record()


def test_all_three_are_joined_and_named():
    request = wanted(keep_transcript=True)
    part = PartResult(
        4.0,
        faces("happiness", [0.0, 0.5, 1.0], [0, 0, 0]),
        VoiceHeard(observed("voice", "happiness", (0.0, 2.0)), None),
        words("good", 0.7, 0.0, 1.0),
    )
    record = record_of(request, CLIP, [part])
    assert record["evidence"] == ["face", "voice", "text"]
    assert record["missing"] == {}
    assert record["experts"]["text"] == {
        "model": "sentiment/text",
        "version": 1,
        "source": "captions",
        "reader": "vader",
    }
    assert record["experts"]["face"]["calibrated"] is False
    first = record["curve"][0]
    assert set(first["evidence"]) == set(EXPERTS)
    assert set(first["emotions"]) == set(EMOTIONS)
    assert sum(first["emotions"].values()) == pytest.approx(1, abs=1e-3)
    assert max(first["emotions"], key=first["emotions"].get) == "happiness"
    assert first["faces"] == 1
    assert record["summary"]["dominant"] == "happiness"
    assert record["transcript"] == [
        {"start_s": 0.0, "end_s": 1.0, "text": "good", "source": "sidecar"}
    ]
    assert record["warnings"] == ["one is damaged"]


def test_parts_of_one_expert_each_give_what_one_worker_gives():
    request = wanted()
    face = faces("anger", [0.0, 0.5], [0, 0])
    voice = VoiceHeard(observed("voice", "anger", (0.0, 2.0)), None)
    whole = record_of(request, CLIP, [PartResult(4.0, face, voice, NO_TEXT)])
    parts = [
        PartResult(4.0, text=NO_TEXT),
        PartResult(4.0, face=face),
        PartResult(4.0, voice=voice),
    ]
    assert record_of(request, CLIP, parts) == whole


def test_nothing_to_go_on_is_an_answer():
    record = record_of(wanted(faces=3), CLIP, [PartResult(4.0, NO_FACE, NO_VOICE, NO_TEXT)])
    assert record["evidence"] == []
    assert record["experts"] == {}
    assert record["curve"] == []
    assert record["people"] == []
    assert record["summary"]["valence"] is None
    assert record["summary"]["covered"] == 0.0
    assert {expert: why["code"] for expert, why in record["missing"].items()} == {
        "face": "no_face",
        "voice": "no_audio",
        "text": "no_text",
    }
    assert "transcript" not in record


def test_a_curve_has_points_only_where_something_is_known():
    voice = VoiceHeard(observed("voice", "sadness", (0.0, 1.0), (15.0, 16.0)), None)
    part = PartResult(20.0, NO_FACE, voice, NO_TEXT)
    record = record_of(wanted(), CLIP, [part])
    times = [point["time_s"] for point in record["curve"]]
    assert times[0] == 0.5 and 15.5 in times and 8.5 not in times
    assert record["summary"]["covered"] == pytest.approx(len(times) / 20)


def test_sound_longer_than_the_pictures_is_judged_to_its_end():
    voice = VoiceHeard(observed("voice", "sadness", (8.0, 12.0)), None)
    record = record_of(wanted(), CLIP, [PartResult(5.0, NO_FACE, voice, NO_TEXT)])
    assert record["curve"][-1]["time_s"] == 11.5


def test_what_begins_past_the_end_of_everything_is_refused():
    request = wanted(start=Fraction(30))
    with pytest.raises(InputError, match="nothing lies at 30 s"):
        record_of(request, CLIP, [PartResult(5.0, past_end=EXPERTS)])
    heard = VoiceHeard(observed("voice", "sadness", (31.0, 32.0)), None)
    part = PartResult(40.0, voice=heard, past_end=("face", "text"))
    record = record_of(request, CLIP, [part])
    assert record["evidence"] == ["voice"]
    assert {k: why["code"] for k, why in record["missing"].items()} == {
        "face": "past_end",
        "text": "past_end",
    }


def test_people_are_told_apart():
    evidence = faces("happiness", [0.0, 0.0, 0.5, 0.5, 1.0], [0, 1, 0, 1, 0])
    record = record_of(wanted(faces=1), CLIP, [PartResult(4.0, evidence, NO_VOICE, NO_TEXT)])
    assert record["curve"][0]["faces"] == 2
    (person,) = record["people"]
    assert person["person"] == 1
    assert (person["start_s"], person["end_s"], person["seen_s"]) == (0.0, 1.5, 1.5)
    assert all(point["time_s"] < 2 for point in person["curve"])
    assert person["dominant"] == "happiness"
    assert person["curve"][0]["time_s"] == 0.5


def test_part_of_the_experts_is_asked():
    request = wanted(evidence=("text",))
    assert [*request.experts] == ["text"]
    assert plan(request, CLIP, 4) == [None]
    assert plan(wanted(), CLIP, 4) == [*EXPERTS]
    assert request.digest != wanted().digest


def test_a_network_is_averaged_over_windows_that_overlap():
    bundle = replace(bundles.read(bundles.find("sentiment/face")), name="mine")
    request = replace(wanted(), model=bundle, experts={}, fusion=None)
    starts = np.array([0.0, 2.0, 4.0, 6.0])
    rated = RatedWindows(
        emotions=("glad", "sad"),
        times=starts + 2,
        start_s=starts,
        end_s=np.minimum(starts + 4, 8.0),
        valence=np.array([0.5, 0.1, np.nan, -0.3], np.float32),
        probabilities=np.array([[1, 0], [0.5, 0.5], [0, 0], [0, 1]], np.float32),
        present=np.array([True, True, False, True]),
        streams={"face": np.array([1, 0.5, 0, 1], np.float32), "voice": np.zeros(4, np.float32)},
        video_end_s=8.0,
    )
    record = record_of(request, CLIP, [PartResult(8.0, rated=rated)])
    valences = [point["valence"] for point in record["curve"]]
    assert valences == pytest.approx([0.5, 0.5, 0.3, 0.3, 0.1, 0.1, -0.3, -0.3])
    assert record["curve"][2]["emotions"] == {"glad": 0.75, "sad": 0.25}
    assert record["curve"][2]["evidence"] == {"face": 0.75}
    assert record["curve"][0]["confidence"] is None
    assert record["model"] == {"name": "mine", "version": bundle.version}
    assert record["evidence"] == ["face"]
    assert record["missing"]["voice"]["code"] == "absent"


def test_an_expert_of_ones_own_is_joined_as_the_others(tmp_path, monkeypatch):
    shutil.copytree(bundles.find("sentiment/face"), tmp_path / "sentiment" / "face")
    monkeypatch.setenv("VMM_MODELS", str(tmp_path))
    request = wanted()
    assert request.experts["face"].folder == tmp_path / "sentiment" / "face"
    assert request.fusion == read_fusion(bundles.packaged_models() / "sentiment" / "fusion.yaml")
    own = tmp_path / "sentiment" / "fusion.yaml"
    own.write_text(
        "schema: vmm.fusion/1\nkernel_s: 2\nreliability: {face: 1, voice: 0.5, text: 1}\n"
    )
    assert wanted().fusion.reliability["voice"] == 0.5


def test_an_expert_is_no_network_of_vmm_train():
    with pytest.raises(ModelError, match="vmm train --task valence"):
        wanted(model=bundles.load("sentiment/face"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("schema: vmm.fusion/1\nkernel_s: 0\n", "kernel_s 0"),
        ("schema: vmm.fusion/1\nkernel_s: .nan\n", "kernel_s nan"),
        ("schema: vmm.fusion/1\nkernel_s: 1\nreliability: {face: 1}\n", "reliability"),
        (
            "schema: vmm.fusion/1\nkernel_s: 1\nreliability: {face: 2, voice: 1, text: 1}\n",
            "reliability",
        ),
        ("schema: vmm.fusion/2\n", "schema"),
        ("[", "not readable as YAML"),
    ],
)
def test_a_damaged_fusion_file_is_refused(tmp_path, text, complaint):
    file = tmp_path / "fusion.yaml"
    file.write_text(text)
    with pytest.raises(ModelError, match=complaint):
        read_fusion(file)
    with pytest.raises(ModelError, match="cannot be read"):
        read_fusion(tmp_path / "none.yaml")
