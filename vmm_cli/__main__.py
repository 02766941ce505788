"""The `vmm` command; also `python -m vmm_cli`."""

from __future__ import annotations

import sys

from vmm_cli.batch import interruptions


def main() -> None:
    """Run the command line and exit with its code."""
    interruptions.take_as_one()
    try:
        # Imported here: spawned workers import this module again and must stay light.
        from vmm_cli.cli.app import run

        code = run(sys.argv[1:])
        interruptions.ignore()
    except KeyboardInterrupt:  # before or after there was anything that could say more
        interruptions.ignore()
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
