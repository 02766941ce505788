"""What is said once of a model, before it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmm_cli.bundles import Bundle


def remarks_on(model: Bundle, *, on_cpu: bool) -> tuple[str, ...]:
    """Return that a model is a demonstration, or could do without PyTorch, where it is so."""
    from vmm_cli.engines.of_model import remark_on_graph

    graph = remark_on_graph(model) if on_cpu else None
    return tuple(filter(None, (_demonstration(model), graph)))


def _demonstration(model: Bundle) -> str | None:
    if not model.demonstration:
        return None
    from vmm_cli.training.measured import card_of

    card = card_of(model.folder)
    more = "" if card is None else f"; see {card}"
    return f"the model {model.name!r} is a demonstration: {model.demonstration}{more}"
