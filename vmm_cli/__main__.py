"""The `vmm` command; also `python -m vmm_cli`."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from vmm_cli.batch import interruptions

INTERRUPTED = 130  # the exit code


def main() -> None:
    """Run the command line and exit with its code."""
    interruptions.take_as_one()
    _keep_standard_descriptors()
    _have_a_home()
    try:
        # Imported here: spawned workers import this module again and must stay light.
        from vmm_cli.cli.ahead import worker_ahead

        with worker_ahead(sys.argv[1:]):
            from vmm_cli.cli.app import run

            code = run(sys.argv[1:])
            interruptions.ignore()
    except KeyboardInterrupt:  # before or after there was anything that could say more
        interruptions.ignore()
        code = INTERRUPTED
    if code == INTERRUPTED:
        _end_now(code)
    sys.exit(code)


def _end_now(code: int) -> None:
    """End with a code that stands.

    Where an interruption has passed through `exec` of a text, as dataclasses use it when they are
    imported, `python -m` would end by SIGINT, whoever caught it.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _keep_standard_descriptors() -> None:
    """Open those that are closed on nothing: else a journal would be what libraries print to."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def _have_a_home() -> None:
    """Say where the home of a user without one is: where nothing is, as Debian's policy has it.

    In containers users may have neither a name nor a home. Then there is no configuration to read,
    and nothing is stored.
    """
    if os.path.expanduser("~") == "~":  # noqa: PTH111 - Path.home() raises
        os.environ["HOME"] = "/nonexistent"


if __name__ == "__main__":
    main()
