from __future__ import annotations

from pathlib import Path

import pytest

from vmm_cli.cli.configuration import check, environment_names, read
from vmm_cli.errors import UsageError

COMMANDS = {
    "classify": {"top_k", "model", "jobs", "no_store"},
    "extract-frames": {"image_format", "jobs"},
}
SHARED = {"jobs", "no_store"}


def checked(path: Path, text: str) -> dict[str, object]:
    path.write_text(text, encoding="utf-8")
    return check(read(path), path, COMMANDS, SHARED)


def test_shared_options_and_a_commands_own(tmp_path: Path) -> None:
    text = "jobs: 2\nno-store: true\nextract-frames:\n  image-format: png\n  jobs: 1\n"
    assert checked(tmp_path / "c.yaml", text) == {
        "jobs": 2,
        "no_store": True,
        "extract-frames": {"image_format": "png", "jobs": 1},
    }


def test_an_empty_file_is_fine(tmp_path: Path) -> None:
    assert checked(tmp_path / "c.yaml", "# nothing\n") == {}
    assert checked(tmp_path / "c.yaml", "classify:\n") == {"classify": {}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jbos: 2", "unknown option 'jbos'; did you mean 'jobs'?"),
        ("top-k: 2", "unknown option 'top-k'; put it under classify:"),
        ("classify: {topk: 2}", "classify has no option 'topk'; did you mean 'top-k'?"),
        ("clasify: {top-k: 2}", "did you mean 'classify'?"),
        ("classify: 3", "classify must hold"),
        ("- jobs", "the file must hold"),
        ("jobs: [1]", "jobs must be one value"),
        ("jobs: 1\n  x: : 2", "line 2"),
        ("a: &a [*a]", "line 1: the alias 'a' lies in what it stands for"),
        ("!!python/object/apply:os.system [ls]", "not YAML"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.yaml"
    with pytest.raises(UsageError) as caught:
        checked(path, text)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match="directory"):
        read(tmp_path)
    (tmp_path / "latin").write_bytes(b"jobs: \xe9")
    with pytest.raises(UsageError, match="UTF-8"):
        read(tmp_path / "latin")


def test_variables() -> None:
    assert environment_names(("classify",), "top_k", SHARED) == ("VMM_CLASSIFY_TOP_K",)
    assert environment_names(("extract-frames",), "jobs", SHARED) == (
        "VMM_EXTRACT_FRAMES_JOBS",
        "VMM_JOBS",
    )
