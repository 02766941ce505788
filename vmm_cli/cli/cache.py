"""`vmm cache`: the store of computed features on this machine."""

from __future__ import annotations

from typing import Any

import typer

from vmm_cli import errors
from vmm_cli.cli import console
from vmm_cli.cli.options import DocumentFormat, Verbose, wants_table

app = typer.Typer(help="Inspect or clear the store of computed features.")


@app.command()
def info(format: DocumentFormat = None, verbose: Verbose = 0) -> int:
    """Show where the store is and what it holds."""
    from vmm_cli.features import store

    held = [
        {
            "encoder": one.encoder or None,
            "kind": one.kind or None,
            "entries": one.entries,
            "size_bytes": one.size_bytes,
        }
        for one in store.holds()
    ]
    _print(format, _facts(store.info()) | {"encoders": held})
    return 0


@app.command()
def clear(format: DocumentFormat = None, verbose: Verbose = 0) -> int:
    """Delete every entry of the store, and say how much that was."""
    from vmm_cli.features import store

    try:
        removed = store.clear()
    except OSError as cause:
        raise errors.OutputError(
            f"{store.folder()}: cannot be cleared: {cause.strerror}"
        ) from cause
    _print(format, {"removed": _facts(removed)})
    return 0


def _facts(info: Any) -> dict[str, Any]:
    return {
        "folder": str(info.folder),
        "entries": info.entries,
        "size_bytes": info.size_bytes,
        "limit_bytes": info.limit_bytes,
    }


def _print(format: str | None, document: dict[str, Any]) -> None:
    if not wants_table(format):
        from vmm_cli.output.json_document import write_document

        write_document(console.stdout(data=True), document)
        return
    stream = console.stdout(data=False)
    facts = document.get("removed", document)
    verb = "removed from" if "removed" in document else "in"
    size = f"{facts['size_bytes'] / 1e6:.1f} MB"
    limit = f"{facts['limit_bytes'] / 1e9:g} GB"
    from vmm_cli.output.escape import escape_controls

    stream.write(
        f"{facts['entries']} entries, {size} {verb} {escape_controls(facts['folder'])}"
        f" (limit {limit})\n"
    )
    for one in document.get("encoders", ()):
        name = escape_controls(one["encoder"] or "not told")
        stream.write(f"  {name}: {one['entries']} entries, {one['size_bytes'] / 1e6:.1f} MB\n")
    stream.flush()
