"""Holds the lock of the output in argv[1] until its standard input closes."""

from __future__ import annotations

import sys
from pathlib import Path

from vmm_cli.batch.lock import lock
from vmm_cli.errors import LockedError

if __name__ == "__main__":
    try:
        with lock(Path(sys.argv[1])):
            print("held", flush=True)
            sys.stdin.read()
    except LockedError as error:
        print(error)
        sys.exit(error.exit_code)
