"""The `vmm` command; also `python -m vmm_cli`."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    _end_as_by_ctrl_c(signal.SIGTERM, signal.SIGHUP)
    try:
        # Imported here: spawned workers import this module again and must stay light.
        from vmm_cli.cli.app import run
    except KeyboardInterrupt:  # before there is anything that could say more
        sys.exit(130)
    sys.exit(run(sys.argv[1:]))


def _end_as_by_ctrl_c(*numbers: signal.Signals) -> None:
    """Have what supervisors and closed terminals send end a run in order: see KeyboardInterrupt."""
    for number in numbers:
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup has SIGHUP ignored, and so it stays
            signal.signal(number, signal.default_int_handler)


if __name__ == "__main__":
    main()
