"""A run whose second step hangs, for tests that end it: prints its children's ids, then waits."""

from __future__ import annotations

import sys
import threading
import time
from functools import partial
from pathlib import Path

from tests.batch import execute_tasks
from vmm_cli.batch.execute import Listener, execute
from vmm_cli.batch.inputs import Input
from vmm_cli.batch.ledger import Records
from vmm_cli.batch.local import LocalExecutor
from vmm_cli.batch.work import Limits


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
        execute_tasks.on_device(execute_tasks.Request(log)),
        [Input(folder / "hangs", "hangs", "hangs")],
        [],
        records=Records("test/1", ("mark",)),
        limits=Limits(max_pixels=1, timeout_s=60),
        start=partial(LocalExecutor, 2),
        listener=Listener(print),
    )
