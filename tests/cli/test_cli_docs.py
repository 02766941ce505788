from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_on_the_command_line_is_fresh() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "make_cli_docs.py", "--check"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
