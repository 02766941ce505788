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

from tests.squares import squares_clip
from vmm_cli import errors
from vmm_cli.media.probe import AttachedPictureInfo, CaptionStreamInfo

Vmm = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "records.md").read_text(encoding="utf-8")

# A sample is what the last of its commands prints.
SAMPLE = re.compile(r"```sh\n((?:vmm [^\n]+\n)*)vmm ([^\n]+)\n```\n\n```json\n(.+?)```", re.DOTALL)
SAMPLES = [(match[2].split(), json.loads(match[3])) for match in SAMPLE.finditer(DOCUMENT)]
COMMANDS_BEFORE = {
    match[2]: [line.split()[1:] for line in match[1].splitlines()]
    for match in SAMPLE.finditer(DOCUMENT)
}
LEFT_OUT = "..."  # the key that says how many entries of one kind a sample does not show
MARKS = {"transcribe": pytest.mark.extra("speech")}
TRAINED = {"model", "rated"}  # the models that the samples train, then use
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


def shortened(made: Any, sample: Any) -> Any:
    """Leave out of what was made the entries that its sample says it leaves out."""
    if isinstance(made, list) and isinstance(sample, list) and len(made) == len(sample):
        return [shortened(*pair) for pair in zip(made, sample, strict=True)]
    if not isinstance(made, dict) or not isinstance(sample, dict):
        return made
    kept = {key: shortened(inner, sample.get(key)) for key, inner in made.items() if key in sample}
    if LEFT_OUT not in sample:
        return made | kept
    assert len({repr(shape(inner)) for inner in made.values()}) == 1, "they are of several kinds"
    return kept | {LEFT_OUT: f"{len(made) - len(kept)} more"}


def hold_against(made: dict[str, Any], sample: dict[str, Any]) -> None:
    """Fail where fields or types of what came out are not those of the sample."""
    whole = shortened(made, sample)
    assert shape(whole) == shape(sample)
    assert counts_left_out(whole) == counts_left_out(sample)
    for key in ("schema", "input", "status", "frames", "folder"):
        assert made.get(key) == sample.get(key)


def counts_left_out(value: Any) -> list[str]:
    """Return what a sample says of the entries that it leaves out."""
    if isinstance(value, list):
        return [count for inner in value for count in counts_left_out(inner)]
    if not isinstance(value, dict):
        return []
    here = [value[LEFT_OUT]] if LEFT_OUT in value else []
    return here + [count for inner in value.values() for count in counts_left_out(inner)]


def render_data(folder: Path) -> None:
    """Make a `clips.csv` and a `rated.csv` as the document describes them, of tiny clips."""
    lines = ["path,label,group,fold"]
    ratings = ["path,valence,emotion,group"]
    for label, kind, count in (("street", "still", 6), ("cartoon", "moving", 4)):
        for i in range(count):
            squares_clip(folder / "clips" / label / f"{i}.mp4", kind, seed=i)
            lines.append(f"clips/{label}/{i}.mp4,{label},{label}-{i},{'ab'[i // 2 % 2]}")
            said = f"{i / 10 - 0.4},neutral" if label == "street" else f"{i / 10 + 0.3},happiness"
            ratings.append(f"clips/{label}/{i}.mp4,{said},{label}-{i}")
    lines.append("clips/street/9.mp4,street,street-9,a")
    ratings.append("clips/street/9.mp4,0.1,neutral,street-9")
    (folder / "clips.csv").write_text("\n".join(lines) + "\n")
    (folder / "rated.csv").write_text("\n".join(ratings) + "\n")


@pytest.mark.parametrize(
    ("arguments", "sample"),
    [
        pytest.param(
            arguments,
            sample,
            id=" ".join(arguments),
            marks=MARKS.get(arguments[0], pytest.mark.slow if "--timeline" in arguments else ()),
        )
        for arguments, sample in SAMPLES
        if "status" in sample and TRAINED.isdisjoint(arguments)
    ],
)
def test_records_are_what_comes_out(
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
    hold_against(record, sample)
    if record["schema"] == "vmm.extract-frames/1":
        index = tmp_path / "frames" / record["folder"] / "frames.jsonl"
        (documented,) = re.findall(r"### frames.jsonl\n.+?```json\n(.+?)```", DOCUMENT, re.DOTALL)
        for written in index.read_text().splitlines():
            assert shape(json.loads(written)) == shape(json.loads(documented))


def test_what_a_look_at_data_says_is_what_comes_out(run_vmm: Vmm, tmp_path: Path) -> None:
    render_data(tmp_path)
    ((arguments, sample),) = [pair for pair in SAMPLES if "--check" in pair[0]]
    made = json.loads(run_vmm(*arguments).stdout)
    hold_against(made, sample)
    assert made["problems"] == sample["problems"]


@pytest.mark.slow
def test_what_training_says_is_what_comes_out(run_vmm: Vmm, bikes: Path, tmp_path: Path) -> None:
    render_data(tmp_path)
    shutil.copy(bikes, tmp_path)
    trainings = [pair for pair in SAMPLES if pair[0][0] == "train" and "--check" not in pair[0]]
    users = [pair for pair in SAMPLES if not TRAINED.isdisjoint(pair[0]) and pair[0][0] != "train"]
    assert len(trainings) == 2
    assert len(users) == 3
    for arguments, sample in (*trainings, *users):
        for before in COMMANDS_BEFORE[" ".join(arguments)]:
            assert run_vmm(*before).returncode == 0
        made = json.loads(run_vmm(*arguments).stdout)
        hold_against(made, sample)
        if arguments[0] == "train":
            folder = tmp_path / arguments[arguments.index("-o") + 1]
            assert json.loads((folder / "metrics.json").read_text()) == made


def test_every_schema_has_a_sample() -> None:
    made = {
        match
        for path in (ROOT / "vmm_cli").rglob("*.py")
        for match in re.findall(
            r'(?:SCHEMA = |schema=)"(vmm\.[a-z-]+/\d+)"', path.read_text(encoding="utf-8")
        )
    }
    # For people who report a defect: what it holds follows the machine.
    made -= {"vmm.doctor/1"}
    # In a run's hidden work folder while it is trained, for the same version of vmm alone.
    made -= {"vmm.checkpoint/1"}
    # How experts are joined: beside the models, not written by a command.
    made -= {"vmm.fusion/1"}
    # In the header of an entry of the feature store: see features/entry_file.py.
    made -= {"vmm.stored/1"}
    documented = {sample["schema"] for _, sample in SAMPLES}
    assert documented == made
    assert made >= {"vmm.info/1", "vmm.extract-frames/1", "vmm.classify/1", "vmm.train/1"}


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
