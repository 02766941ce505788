"""`vmm models` as it is run: what can be fetched, and what is said on the way."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.file_server import serving
from tests.random_weights import weights_for_all
from tests.terminal import AtTerminal
from vmm_cli.bundles import packaged_models
from vmm_cli.bundles.published import FETCHABLE
from vmm_cli.features.catalogue import entry_of
from vmm_cli.training.measured import accuracy_of, card_of, measured_of

NAME = "torchvision/mobilenet_v3_large"
EXPERTS = ["sentiment/face", "sentiment/text", "sentiment/voice"]
CARRIED = ["moderation", "objects", "pose", "sounds", "tags"]
PACKAGED = sorted(["falls", "fights", "imagenet", *CARRIED, *EXPERTS])
Vmm = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return weights_for_all(NAME, tmp_path_factory)


def test_a_model_is_fetched_shown_and_used(
    run_vmm: Vmm, weights: Path, bikes: Path, tmp_path: Path
) -> None:
    done = run_vmm("models", "fetch", NAME, "--from", weights)
    assert done.returncode == 0
    folder = Path(done.stdout.removeprefix(f"{NAME} is here now: ").strip())
    assert (folder / "CARD.md").is_file()
    assert (
        done.stderr
        == f"{NAME}: these are not the weights that torchvision publishes under this name\n"
    )

    again = run_vmm("models", "fetch", NAME, "--from", weights)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == f"{NAME} is here already: {folder}\n"

    assert run_vmm("models", "path", NAME).stdout.strip() == str(folder)
    shown = json.loads(run_vmm("models", "show", NAME).stdout)
    assert shown["source"]["file"] == weights.name
    assert shown["engine"] == {"name": "onnxruntime", "why": "its networks have graphs"}
    assert len(shown["source"]["sha256"]) == 64
    listed = json.loads(run_vmm("models", "list").stdout)
    assert [model["name"] for model in listed] == [*PACKAGED, NAME]
    assert {model["engine"] for model in listed} == {"onnxruntime"}

    # Put where an administrator would, for everybody.
    shutil.move(folder.parents[1], tmp_path / "shared")
    shared = {"VMM_MODELS": str(tmp_path / "shared")}
    there = run_vmm("models", "fetch", NAME, env=shared)
    assert there.stdout == f"{NAME} is here already: {tmp_path}/shared/{NAME}\n"

    found = run_vmm("classify", bikes, "-m", NAME, "--every", "5", env=shared)
    record = json.loads(found.stdout)
    assert record["model"] == {"name": NAME, "version": 1}
    assert record["frames"] == 2
    assert len(record["labels"]) == 5


def test_a_terminal_is_told_how_long_a_fetch_took(
    run_at_terminal: AtTerminal, weights: Path, tmp_path: Path
) -> None:
    home = {"HOME": os.fspath(tmp_path), "XDG_DATA_HOME": os.fspath(tmp_path / "data")}
    with serving(weights.read_bytes(), weights.name) as site:
        site.pauses_s = 1  # long enough to be drawn
        done = run_at_terminal("models", "fetch", NAME, "--from", site.url, cwd=tmp_path, env=home)
    assert done.returncode == 0, done.sent
    assert re.search(rf"downloading {weights.name} \(MB\)  \d+/\d+ +\d+%", done.sent)
    assert "0/?" not in done.sent and "0/0" not in done.sent
    assert re.fullmatch(r"fetched in \d+ s", done.last)
    assert done.stdout.startswith(f"{NAME} is here now: ")


def test_what_can_be_fetched_is_listed(run_vmm: Vmm) -> None:
    models = {m["name"]: m for m in json.loads(run_vmm("models", "list", "--fetchable").stdout)}
    assert len(models) == 19
    assert models["torchvision/mvit_v2_s"] == {
        "name": "torchvision/mvit_v2_s",
        "task": "classes",
        "labels": 400,
        "summary": "400 human actions of Kinetics, clip by clip",
        "accuracy_percent": 80.8,
        "measure": "top-1",
        "download_mib": 132,
        "here": False,
    }
    detector = models["torchvision/ssdlite320_mobilenet_v3_large"]
    assert (detector["task"], detector["labels"], detector["measure"]) == ("objects", 80, "box mAP")
    masks = models["torchvision/lraspp_mobilenet_v3_large"]
    assert (masks["task"], masks["labels"], masks["measure"]) == ("masks", 21, "mIoU")
    table = run_vmm("models", "list", "--fetchable", "--format", "table").stdout
    assert "torchvision/swin3d_b" in table
    assert "  80.8  top-1    132  no  " in " ".join(table.split("\n"))


def test_lists_are_shown_one_at_a_time(run_vmm: Vmm) -> None:
    recipes = json.loads(run_vmm("models", "list", "--recipes").stdout)
    assert recipes[0]["name"] == "default"
    assert all(recipe["description"] for recipe in recipes)
    encoders = {recipe["name"]: recipe["encoders"] for recipe in recipes}
    assert encoders["frames"] == {"image": "efficientnet-lite0"}
    assert all(entry_of(stream, name) for of in encoders.values() for stream, name in of.items())
    assert run_vmm("models", "list", "--recipes", "--fetchable").returncode == 2


def test_classify_never_fetches_and_says_how_to(run_vmm: Vmm, bikes: Path) -> None:
    done = run_vmm("classify", bikes, "--model", "torchvision/mvit_v2_s")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "model 'torchvision/mvit_v2_s' is not on this machine yet; "
        "fetch it with `vmm models fetch torchvision/mvit_v2_s`; without a network, bring the file "
        "https://download.pytorch.org/models/mvit_v2_s-ae3be167.pth here yourself and run "
        "`vmm models fetch torchvision/mvit_v2_s --from FILE`\n"
    )


@pytest.mark.slow
def test_without_a_network_it_is_said_what_to_do(run_vmm: Vmm) -> None:
    mirror = {"VMM_MODELS_URL": "http://nowhere.invalid/models", "no_proxy": "nowhere.invalid"}
    done = run_vmm("models", "fetch", "torchvision/r3d_18", env=mirror)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "http://nowhere.invalid/models/r3d_18-b3b3357e.pth" in line
    assert "is this machine offline?" in line
    assert "bring the file https://download.pytorch.org/models/r3d_18-b3b3357e.pth here" in line
    assert "`vmm models fetch torchvision/r3d_18 --from FILE`" in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["resnet18"], "did you mean 'torchvision/resnet18'"),
        (["imagenet"], "not one that can be fetched"),
        (["torchvision/s3d", "--from", "/nowhere.pth"], "there is no such file"),
        (["torchvision/s3d", "--from", "ftp://a/b.pth"], "no http or https address"),
    ],
)
def test_mistakes_are_told_in_one_line(run_vmm: Vmm, arguments: list[str], said: str) -> None:
    done = run_vmm("models", "fetch", *arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_models_folder_that_cannot_be_written(
    run_vmm: Vmm, weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "home" / "data").mkdir(parents=True)
    (tmp_path / "home" / "data" / "vmm").write_text("in the way")
    done = run_vmm("models", "fetch", NAME, "--from", weights)
    assert done.returncode == 1
    assert "cannot be written" in done.stderr


@pytest.mark.slow
def test_a_download_that_is_interrupted_goes_on(
    run_vmm: Vmm, weights: Path, tmp_path: Path
) -> None:
    data = weights.read_bytes()
    program = (
        "import os, signal, threading, time\n"
        "from pathlib import Path\n"
        "from vmm_cli.__main__ import main\n"
        "def interrupt():\n"
        "    while not list(Path.home().rglob('*.part')): time.sleep(0.05)\n"
        "    time.sleep(0.5)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Thread(target=interrupt, daemon=True).start()\n"
        "main()\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    environment = os.environ | {
        "HOME": str(home),
        "XDG_DATA_HOME": str(home / "data"),
        "no_proxy": "127.0.0.1",
    }
    with serving(data, weights.name) as server:
        server.breaks_after, server.stalls = [3_000_000], threading.Event()
        fetch = ["models", "fetch", NAME, "--from", server.url]
        broken = subprocess.run(
            [sys.executable, "-c", program, *fetch],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert broken.returncode == 130
        assert "run the same command again to continue" in broken.stderr
        (part,) = home.rglob("*.part")
        assert part.read_bytes() == data[: part.stat().st_size] != b""
        done = run_vmm(*fetch, env={"no_proxy": "127.0.0.1"})
    assert done.returncode == 0
    assert server.asked[-1]["Range"] == "bytes=3000000-"
    assert not list(home.rglob("*.part*"))


# --- what is said of models ---------------------------------------------------------------------


def test_show_says_how_good_a_model_is_and_where_its_card_lies(run_vmm: Vmm) -> None:
    shown = json.loads(run_vmm("models", "show", "fights").stdout)
    assert "accuracy 0.832 ± 0.005 over 3 seeds" in shown["accuracy"]
    assert Path(shown["card"]).read_text().startswith("# fights: ")
    measured = shown["measured"]
    assert measured["split"].startswith("each fold left out in turn")
    assert (measured["folds"], measured["samples"], measured["seeds"]["n"]) == (5, 220, 3)
    assert measured["seeds"]["accuracy"]["mean"] == pytest.approx(0.832, abs=5e-4)
    assert measured["intervals"]["accuracy"]["low"] < measured["figures"]["accuracy"]
    table = run_vmm("models", "show", "fights", "--format", "table").stdout
    for said in ("accuracy", "0.832 ± 0.005", shown["card"], "demonstration"):
        assert said in table
    assert "source" not in table, "what is empty is left out"


@pytest.mark.parametrize(
    "words",
    [
        "classify VIDEO --model objects",
        "detect-actions VIDEO --model pose",
        "evaluate pose FOLDER",
    ],
)
def test_models_of_another_command_are_refused(
    run_vmm: Vmm, squares: Path, bikes: Path, words: str
) -> None:
    places = {"VIDEO": bikes, "FOLDER": squares}
    done = run_vmm(*(places.get(word, word) for word in words.split()))
    assert (done.returncode, done.stdout) == (1, "")
    name = "objects" if "objects" in words else "pose"
    assert done.stderr.startswith(f"model '{name}' ")
    assert "`vmm detect-objects" in done.stderr


@pytest.mark.parametrize("name", PACKAGED)
def test_each_packaged_model_says_how_good_it_is(name: str) -> None:
    folder = packaged_models() / name
    said = accuracy_of(folder)
    assert said is not None and 40 < len(said) <= 500 and "\n" not in said
    assert any(character.isdigit() for character in said)
    assert card_of(folder) == folder / "CARD.md"


def test_a_run_says_what_was_measured(squares_model: Path) -> None:
    metrics = json.loads((squares_model / "metrics.json").read_text())
    measured = measured_of(squares_model, "classes")
    assert measured is not None
    assert measured["figures"]["accuracy"] == metrics["validation"]["accuracy"]
    assert measured["samples"] == metrics["samples"]["val"]
    said = accuracy_of(squares_model)
    assert said is not None and "samples that were held out" in said


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 100_000,
        "[]",
        "{}",
        '{"folds": 5, "samples": {}}',
        '{"folds": {"names": [], "split": 1, "test": []}, "samples": {"train": 1}}',
        '{"validation": {"accuracy": "high"}, "samples": {"val": 1}}',
        '{"validation": null, "samples": null}',
        '{"stated_by_torchvision_percent": {"ImageNet-1K": {"acc@1": 69.8}}}',
        "9" * 5000,
    ],
)
def test_metrics_of_another_form_say_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.json").write_text(text)
    assert measured_of(tmp_path, "classes") is None


def test_what_is_no_number_is_null(tmp_path: Path) -> None:
    scores = {"accuracy": float("nan"), "balanced_accuracy": 0.5, "macro_f1": float("inf")}
    metrics = {"split": "x", "validation": scores, "samples": {"val": 3}}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    measured = measured_of(tmp_path, "classes")
    assert measured is not None
    assert measured["figures"] == {"accuracy": None, "balanced_accuracy": 0.5, "macro_f1": None}


def test_a_card_of_any_kind_does_no_harm(tmp_path: Path) -> None:
    assert card_of(tmp_path) is None and accuracy_of(tmp_path) is None
    os.mkfifo(tmp_path / "CARD.md")
    assert card_of(tmp_path) is None and accuracy_of(tmp_path) is None
    (tmp_path / "CARD.md").unlink()
    (tmp_path / "CARD.md").write_bytes(
        b"# x\n\n## Accuracy\n\n\xff" + b"word " * 500 + b"\n\n## More"
    )
    said = accuracy_of(tmp_path)
    assert said is not None and said.startswith("\ufffdword word") and len(said) <= 503


def test_a_demonstration_is_told_wherever_models_are_listed(run_vmm: Vmm) -> None:
    listed = {model["name"]: model for model in json.loads(run_vmm("models", "list").stdout)}
    demonstrations = {name for name, model in listed.items() if model["demonstration"]}
    assert demonstrations == {"falls", "fights", "sentiment/voice"}
    wide = {"COLUMNS": "1000"}
    table = run_vmm("models", "list", "--format", "table", env=wide).stdout
    assert table.count("a demonstration: ") == 3
    doctor = run_vmm("doctor", "--format", "table", env=wide).stdout
    assert doctor.count("verified, a demonstration") == 3
    for name in demonstrations:
        card = (packaged_models() / name / "CARD.md").read_text()
        assert "**A demonstration" in card.split("##")[0]


@pytest.mark.parametrize(
    "command", ["classify", pytest.param("detect-actions", marks=pytest.mark.slow)]
)
def test_a_demonstration_is_told_once_with_v(run_vmm: Vmm, bikes: Path, command: str) -> None:
    end = ("--end", "1.5")
    told = run_vmm(command, bikes, bikes, "-m", "fights", "-v", *end)
    assert told.returncode == 0
    assert told.stderr.count("the model 'fights' is a demonstration: learnt from 220 clips") == 1
    assert str(packaged_models() / "fights" / "CARD.md") in told.stderr
    assert "demonstration" not in run_vmm(command, bikes, "-m", "fights", *end).stderr


def test_an_expert_that_is_a_demonstration_says_so(run_vmm: Vmm, bikes: Path) -> None:
    asked = ("sentiment", bikes, bikes, "--end", "0.5", "--no-store")
    told = run_vmm(*asked, "--evidence", "voice,text", "-v").stderr
    said = "the model 'sentiment/voice' is a demonstration: learnt from research data"
    assert told.count(said) == told.count("is a demonstration") == 1
    assert "demonstration" not in run_vmm(*asked, "--evidence", "text", "-v").stderr
    assert "demonstration" not in run_vmm(*asked, "--evidence", "voice").stderr


@pytest.mark.parametrize("width", [80, 60])
@pytest.mark.parametrize("what", ["--fetchable", "--recipes", None])
def test_lists_lose_no_word_in_a_narrow_terminal(
    run_vmm: Vmm, width: int, what: str | None
) -> None:
    options = ("--format", "table", *([what] if what else []))
    narrow = run_vmm("models", "list", *options, env={"COLUMNS": str(width)}).stdout
    wide = run_vmm("models", "list", *options, env={"COLUMNS": "1000"}).stdout
    assert max(map(len, narrow.splitlines())) <= width
    rule = "\N{BOX DRAWINGS LIGHT HORIZONTAL}"
    assert Counter(narrow.replace(rule, "").split()) == Counter(wide.replace(rule, "").split())
    if what == "--fetchable":
        assert "MiB" in narrow
        assert all(f"{name}\n" in narrow or f"{name} " in narrow for name in FETCHABLE)
