"""What is said once of a model on which nothing may hang."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmm_cli.bundles import Bundle


def remarks_on(model: Bundle) -> tuple[str, ...]:
    """Return that a model is a demonstration, where it is one."""
    if not model.demonstration:
        return ()
    from vmm_cli.training.measured import card_of

    card = card_of(model.folder)
    more = "" if card is None else f"; see {card}"
    return (f"the model {model.name!r} is a demonstration: {model.demonstration}{more}",)
