"""A parent with busy workers, for tests that end or stop it: prints their ids, then waits."""

from __future__ import annotations

import os
import sys
import threading
import time

from tests.batch import worker_tasks
from vmm_cli.batch.executor import Task
from vmm_cli.batch.runner import WorkerPool

if __name__ == "__main__":
    how = sys.argv[1]
    with WorkerPool(2) as pool:
        if how == "threaded":  # another thread may take the signal
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        if how == "starting":
            print(os.getpid(), flush=True)
        for task in (
            Task("a", worker_tasks.process_id, ()),
            Task("b", worker_tasks.process_id, ()),
        ):
            pool.submit(task)
        workers = {pool.next_outcome().value, pool.next_outcome().value}
        if how == "limited":
            pool.submit(Task("limited", worker_tasks.wait_for, (sys.argv[2],), timeout_s=2.5))
            print("busy", *workers, flush=True)
            print(pool.next_outcome().error, flush=True)
            sys.exit()
        for _ in range(2):
            pool.submit(Task("stuck", worker_tasks.match_for_ever, ()))
        print("busy", *workers, flush=True)
        pool.next_outcome()
