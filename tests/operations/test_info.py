"""The record of one file: its shots where they were asked for."""

from __future__ import annotations

import json
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vmm_cli.batch.inputs import Input
from vmm_cli.operations import info
from vmm_cli.operations.info import InfoOptions


def fields_of(path: Path, *, shots: bool) -> dict[str, Any]:
    request = InfoOptions(max_pixels=10**7, shots=shots)
    item = Input(path, path.name, path.name)
    return info.finish(request, item, [info.run(request, item)]).to_record()


def test_shots_only_where_asked_for(bikes: Path) -> None:
    plain, asked = (fields_of(bikes, shots=shots) for shots in (False, True))
    assert "shots" not in plain
    shots = asked.pop("shots")
    assert asked == plain
    assert shots[:2] == [{"start_s": 0.0, "end_s": 1.2}, {"start_s": 1.2, "end_s": 3.04}]
    assert len(shots) == 6


def test_sound_alone_has_no_shots(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))
    assert fields_of(path, shots=True)["shots"] == []


def test_long_texts_are_shortened_and_say_so(render_clip: Callable[..., Path]) -> None:
    tags = {"title": "x" * 10_000_000, "description": "é" * 1001}
    tags |= {f"tag{i}": "short" for i in range(150)} | {"y" * 5000: "z" * 5000}
    path = render_clip("clip.mkv", frames=5, metadata=tags)
    found = fields_of(path, shots=False)
    assert found["title"] == "x" * 1000 + "... (10,000,000 characters)"
    assert found["description"] == "é" * 1000 + "... (1,001 characters)"
    assert len(found["tags"]) == 100 and found["tags_left_out"] > 50
    assert len(json.dumps(found)) < 20_000


def test_texts_of_usual_length_are_as_they_are(render_clip: Callable[..., Path]) -> None:
    path = render_clip("clip.mkv", frames=5, metadata={"title": "t" * 1000})
    found = fields_of(path, shots=False)
    assert found["title"] == "t" * 1000
    assert "tags_left_out" not in found
