"""Write docs/cli.md from the command line itself; run it after changing an option.

python tools/make_cli_docs.py            # writes docs/cli.md
python tools/make_cli_docs.py --check    # exit 1 where docs/cli.md is stale
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "cli.md"

INTRODUCTION = """\
# The command line

<!-- Written by tools/make_cli_docs.py from the commands themselves: edit those, then run it. -->

Results go to stdout or to `-o`; messages and progress go to stderr. An option is taken from the
first place that has it: the command line, a `VMM_*` variable, the configuration file (the user's
own, see `vmm doctor`, or the one `--config` names), its default. An empty variable counts as not
set.

The configuration file is YAML. Options that commands share stand at the top, a command's own under
its name; an option without a value is `true` or `false`:

```yaml
jobs: 4
no-store: true
classify:
  top-k: 3
```

| exit code | meaning |
|---|---|
| 0 | all done |
| 1 | could not run: output not writable, no such model, data that cannot be learnt from |
| 2 | wrong usage: contradicting options, end before start |
| 3 | some inputs failed: missing, unreadable, refused |
| 4 | no input found |
| 11 | another run holds the output |
| 130 | interrupted, by Ctrl-C, SIGTERM or SIGHUP; with `-o`, the same command goes on from there |

A file that vmm did not write, or that was changed since, is never replaced without `--overwrite`:
results, pictures of `--plot`, `--timeline` and `--strips`, what `evaluate -o` writes, and frames
are then refused (exit code 2; for frames the input fails). Results are known by a digest that is
noted in the journal beside the file. In a folder with a file for each input `vmm.files.jsonl` has
the digests, and the paths of the inputs: the subtitles or the picture of another video of the same
name are refused too, as long as the earlier video is still where it was. With `--overwrite` frames
go among the other files of a folder, which stay.

CSV from `classify` has one row per label, with the columns
`input,status,rank,label,score,times,start_s,end_s,error`. `times` are the seconds of the frames
that support the label, separated by spaces; `start_s` and `end_s` are the window's, empty without
`--windows`; a failed input has one row with its `error` and no label. Numbers have a decimal point
in every locale; control characters are written as escapes, so that a row is one line.
"""


def main() -> int:
    text = render()
    if sys.argv[1:] == ["--check"]:
        stale = not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text
        if stale:
            print("docs/cli.md is stale: run python tools/make_cli_docs.py", file=sys.stderr)
        return int(stale)
    TARGET.write_text(text, encoding="utf-8")
    return 0


def render() -> str:
    """Return the page."""
    os.environ["COLUMNS"] = "90"  # the width of the help texts below, whoever runs this
    sys.path.insert(0, str(ROOT))
    from vmm_cli.cli.app import build

    command = build()
    parts = [INTRODUCTION]
    for path, inner in _commands(command, ()):
        parts.append(f"## vmm {' '.join(path)}\n" if path else "## vmm\n")
        parts.append(f"```text\n{_help(command, path)}\n```\n")
        variables = _variables(inner)
        if variables:
            parts.append("| option | variables, the first wins |\n|---|---|\n" + variables)
    return "\n".join(parts)


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*path, name))


def _help(command: Any, path: tuple[str, ...]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as text:
        command.main([*path, "--help"], prog_name="vmm", standalone_mode=False)
    return "\n".join(line.rstrip() for line in text.getvalue().strip().splitlines())


def _variables(command: Any) -> str:
    rows = []
    for parameter in command.params:
        names = parameter.envvar
        if names:
            names = [names] if isinstance(names, str) else names
            rows.append(f"| `{parameter.opts[0]}` | {', '.join(f'`{n}`' for n in names)} |\n")
    return "".join(rows)


if __name__ == "__main__":
    sys.exit(main())
