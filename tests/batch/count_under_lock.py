"""Adds 1 to the number in argv[2], argv[3] times, each under the lock of the output argv[1]."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from vmm_cli.batch.lock import lock
from vmm_cli.errors import LockedError

if __name__ == "__main__":
    counter, left = Path(sys.argv[2]), int(sys.argv[3])
    while left:
        try:
            with lock(Path(sys.argv[1])):
                number = int(counter.read_text())
                time.sleep(0.0005)
                counter.write_text(str(number + 1))
                left -= 1
        except LockedError:
            time.sleep(0.0002)
