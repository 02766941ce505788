"""A run whose second step hangs, for tests that end it: prints its children's ids, then waits."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from tests.batch import execute_tasks
from vmm_cli.batch.execute import execute
from vmm_cli.batch.inputs import Input


def tell_children(log: Path) -> None:
    while "compute" not in (log.read_text() if log.exists() else ""):
        time.sleep(0.02)
    print(Path("/proc/self/task").joinpath(str(MAIN), "children").read_text(), flush=True)


if __name__ == "__main__":
    MAIN = threading.main_thread().native_id
    folder = Path(sys.argv[1])
    log = folder / "log"
    threading.Thread(target=tell_children, args=(log,), daemon=True).start()
    execute(
        [Input(folder / "hangs", "hangs", "hangs")],
        [],
        execute_tasks.STAGED,
        execute_tasks.Request(log),
        schema="test/1",
        options={},
        jobs=2,
        timeout_s=60,
        max_pixels=1,
        on_record=print,
    )
