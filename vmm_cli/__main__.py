"""The `vmm` command; also `python -m vmm_cli`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        # Imported here: spawned workers import this module again and must stay light.
        from vmm_cli.cli.app import run
    except KeyboardInterrupt:  # before there is anything that could say more
        sys.exit(130)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
