"""The error tree. Each error says what happened, to which input, and what to do next.

`code` is the short word that stands in a failed record; `exit_code` is what the shell returns
when the error ends the whole command.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping


class VmmError(Exception):
    """Something the user can be told in one line."""

    code = "error"
    exit_code = 1


class InputError(VmmError):
    """One input cannot be used; the others go on.

    `code` is one of: missing, unreadable, refused, no_video, past_end, timeout, crashed, memory,
    collision, output (its results cannot be written), internal; or the code of another VmmError
    that a worker met.
    """

    exit_code = 3

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str]]:
        return InputError, (self.code, self.message)  # crosses process borders whole


class UsageError(VmmError):
    """The options contradict each other or cannot be read."""

    code = "usage"
    exit_code = 2


class OptionError(UsageError):
    """Options contradict each other, or what they are for.

    `template` names options in braces, {top_k}, which the shell calls by their flags; what stands
    for other names is in `values`.
    """

    def __init__(self, template: str, **values: object) -> None:
        self.template = template
        self.values = values
        super().__init__(self.worded(lambda name: name))

    def worded(self, call: Callable[[str], str]) -> str:
        """Return the message with each option called what `call` calls it."""
        return self.template.format_map(_Named(self.values, call))


class _Named(dict[str, object]):
    def __init__(self, values: Mapping[str, object], call: Callable[[str], str]) -> None:
        super().__init__(values)
        self._call = call

    def __missing__(self, name: str) -> str:
        return self._call(name)


class NoInputError(VmmError):
    """Nothing to work on was found."""

    code = "no_input"
    exit_code = 4


class OutputError(VmmError):
    """The output cannot be written."""

    code = "output"
    exit_code = 1


class ResourceError(VmmError):
    """The system does not allow what a run needs."""

    code = "resource"
    exit_code = 1


class DeviceError(VmmError):
    """The device that is to compute cannot be used."""

    code = "device"
    exit_code = 1


class LockedError(VmmError):
    """Another run holds the output."""

    code = "locked"
    exit_code = 11


class ModelError(VmmError):
    """A model is not there, damaged, or not of a kind that can be used."""

    code = "model"
    exit_code = 1


class DataError(VmmError):
    """A data set cannot be trained or evaluated on."""

    code = "data"
    exit_code = 1


class RecipeError(UsageError):
    """A recipe names what there is not, or contradicts itself; the message lists every mistake."""

    code = "recipe"
