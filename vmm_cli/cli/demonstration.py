"""What is said once of a model on which nothing may hang."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmm_cli.cli import console

if TYPE_CHECKING:
    from vmm_cli.bundles import Bundle


def remark_on(model: Bundle) -> None:
    """Say at a terminal, and with -v, that a model is a demonstration, where it is one."""
    from vmm_cli.training.measured import card_of

    if model.demonstration:
        card = card_of(model.folder)
        more = "" if card is None else f"; see {card}"
        console.remark(f"the model {model.name!r} is a demonstration: {model.demonstration}{more}")
