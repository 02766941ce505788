"""docs/records.md shows what the commands really write."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from vmm_cli import errors
from vmm_cli.media.probe import AttachedPictureInfo, CaptionStreamInfo

Vmm = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "records.md").read_text(encoding="utf-8")

SAMPLE = re.compile(r"```sh\nvmm ([^\n]+)\n```\n\n```json\n(.+?)```", re.DOTALL)
# A code where an error or a failed record is made, whichever way it is written.
CODE = re.compile(r"(?:InputError\(|Report\(None,|_failed\(schema, name,)\s*\"(\w+)\"")


def shape(value: Any) -> Any:
    """Return a value's fields, in order, and types, without what they hold."""
    if isinstance(value, dict):
        return [(key, shape(inner)) for key, inner in value.items()]
    if isinstance(value, list):
        kinds: list[Any] = []
        for kind in map(shape, value):
            if kind not in kinds:
                kinds.append(kind)
        return kinds
    return type(value).__name__


@pytest.mark.parametrize(
    ("arguments", "sample"),
    [
        pytest.param(match[1].split(), json.loads(match[2]), id=match[1])
        for match in SAMPLE.finditer(DOCUMENT)
    ],
)
def test_samples_are_what_comes_out(
    run_vmm: Vmm,
    bikes: Path,
    bunny: Path,
    tmp_path: Path,
    arguments: list[str],
    sample: dict[str, Any],
) -> None:
    for clip in (bikes, bunny):
        if clip.name in arguments:
            shutil.copy(clip, tmp_path)
    (line,) = run_vmm(*arguments).stdout.splitlines()
    record = json.loads(line)
    assert shape(record) == shape(sample)
    for key in ("schema", "input", "status", "frames", "folder"):
        assert record.get(key) == sample.get(key)
    if record["schema"] == "vmm.extract-frames/1":
        index = tmp_path / "frames" / record["folder"] / "frames.jsonl"
        (documented,) = re.findall(r"### frames.jsonl\n.+?```json\n(.+?)```", DOCUMENT, re.DOTALL)
        for written in index.read_text().splitlines():
            assert shape(json.loads(written)) == shape(json.loads(documented))


def test_every_schema_has_a_sample() -> None:
    made = {
        match
        for path in (ROOT / "vmm_cli").rglob("*.py")
        for match in re.findall(r'SCHEMA = "(vmm\.[a-z-]+/\d+)"', path.read_text(encoding="utf-8"))
    }
    # Written by a command that makes one document, not a record per input.
    made -= {"vmm.doctor/1"}
    documented = {json.loads(match[2])["schema"] for match in SAMPLE.finditer(DOCUMENT)}
    assert documented == made
    assert made >= {"vmm.info/1", "vmm.extract-frames/1", "vmm.classify/1"}


def test_every_error_code_is_explained() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "vmm_cli").rglob("*.py")]
    made = {code for source in sources for code in CODE.findall(source)}
    table = DOCUMENT.partition("## Failed inputs")[2].partition("##")[0]
    documented = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    # A worker passes on errors of the whole command too, under their own codes.
    passed_on = {errors.ModelError.code, errors.DeviceError.code}
    assert documented == made | passed_on


@pytest.mark.parametrize(
    ("name", "kind"),
    [("captions", CaptionStreamInfo), ("attached_pictures", AttachedPictureInfo)],
)
def test_fields_of_streams_that_the_sample_lacks(name: str, kind: type) -> None:
    (listed,) = re.findall(rf"^- `{name}`: (.+)$", DOCUMENT, re.MULTILINE)
    names = re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", listed))
    assert names == [field.name for field in fields(kind)]
