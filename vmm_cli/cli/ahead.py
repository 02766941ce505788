"""A worker that starts with the command itself, and imports while the command line is read.

Either takes about 0.3 s.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

# What the first task of a command imports. Commands over videos only: others may need no worker.
MODULES = {
    "extract-frames": ("vmm_cli.operations.save_frames", "vmm_cli.media.video"),
    "classify": ("vmm_cli.inference.classify_tags",),
    "detect-objects": ("vmm_cli.operations.detect_objects", "vmm_cli.analysis.objects"),
    "detect-actions": ("vmm_cli.operations.action_models",),
    "transcribe": ("vmm_cli.features.transcript",),
    "sentiment": ("vmm_cli.operations.sentiment_result",),
    "info": ("vmm_cli.operations.info", "vmm_cli.media.video"),
}
# With one of these nothing is worked on.
ONLY_SAID = ("-h", "--help", "--dry-run")


def worker_ahead(argv: Sequence[str]) -> AbstractContextManager[None]:
    """Start a worker for the command that `argv` begins with, if it is one that needs workers."""
    modules = MODULES.get(argv[0]) if argv else None
    if modules is None or any(word in ONLY_SAID for word in argv):
        return nullcontext()
    from vmm_cli.batch.local import started_ahead

    return started_ahead(modules)
