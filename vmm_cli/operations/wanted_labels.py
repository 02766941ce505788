"""Labels that a user asks for, as a model spells them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmm_cli.errors import OptionError
from vmm_cli.spelling import spelling_of
from vmm_cli.suggest import did_you_mean

if TYPE_CHECKING:
    from vmm_cli.bundles import Bundle

MOST_LISTED = 12


def wanted_labels(
    asked: tuple[str, ...] | None, model: Bundle, *, beside: str | None = None
) -> tuple[str, ...] | None:
    """Return labels as the model spells them, each once. OptionError where it does not know one.

    beside: what else the user may ask for.
    """
    if asked is None:
        return None
    labels = tuple(dict.fromkeys(map(spelling_of(model.labels), asked)))
    for label in labels:
        if label not in model.labels:
            raise OptionError("{said}", said=_unknown(model, label, beside))
    return labels


def _unknown(model: Bundle, label: str, beside: str | None) -> str:
    there = ", ".join(model.labels[:MOST_LISTED])
    more = len(model.labels) - MOST_LISTED
    listed = f"{there} and {more} more" if more > 0 else there
    others = () if beside is None else (beside,)
    hint = did_you_mean(label, (*model.labels, *others)) or ";"
    also = "" if beside is None else f"beside {beside} "
    return f"model {model.name!r} has no label {label!r}{hint} {also}it knows {listed}"
