"""Each video again with people, faces or things made unrecognisable: `--blur`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vmm_cli.errors import InputError
from vmm_cli.operations.wanted_labels import wanted_labels

if TYPE_CHECKING:
    from vmm_cli.analysis.covering import Covered
    from vmm_cli.analysis.objects import ObjectsFound
    from vmm_cli.bundles import Bundle
    from vmm_cli.features.face_boxes import FaceBoxes
    from vmm_cli.features.sightings import Sightings
    from vmm_cli.media.sampling import Sampling
    from vmm_cli.media.writing import Edit

SUFFIX = ".blurred.mp4"
PICTURES_PER_S = 10  # that are looked at; faces go by quickly
FACES, PERSON = "faces", "person"
# What people write for it, by how it is called.
OTHER_NAMES = {"face": FACES, "faces": FACES, "persons": PERSON, "people": PERSON}

_COVERED = "covered"  # a field of records, until they are drawn


@dataclass(frozen=True)
class Blurring:
    """What is made unrecognisable: labels of the model, and faces. known: all its labels."""

    labels: tuple[str, ...]
    faces: bool
    known: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """What it is called, in records."""
        return [*([FACES] if self.faces else []), *self.labels]

    def finder(self, sampling: Sampling) -> FaceBoxes | None:
        """Return what looks for faces; None: nobody wants any. ModelError as `FaceBoxes`."""
        from vmm_cli.features.face_boxes import FaceBoxes

        return FaceBoxes(sampling) if self.faces else None

    def covered(
        self, seen: Sightings, finder: FaceBoxes | None, found: ObjectsFound, step_s: float
    ) -> Covered:
        """Return what is to be covered of what was seen; step_s: as of `Covered`.

        Raises:
            InputError: the file gave other pictures when they were searched for faces.
        """
        from vmm_cli.analysis import covering

        numbers = {label: number for number, label in enumerate(self.known)}
        kinds = [covering.of_label(seen.objects, numbers[label]) for label in self.labels]
        times = seen.objects.times.tolist()
        if finder is not None:
            if finder.times != times:
                raise InputError("unreadable", "it gives other pictures each time that it is read")
            faces = covering.Boxes(finder.boxes, finder.scores, covering.WIDER_FACE)
            kinds.append(faces)
            if PERSON in numbers:
                people = covering.of_label(seen.objects, numbers[PERSON])
                kinds.append(covering.heads_of(people, faces, found.width / found.height))
        return covering.Covered(times, kinds, step_s)


def blurring_of(asked: tuple[str, ...], model: Bundle) -> Blurring:
    """Return what a user wants to be unrecognisable. OptionError where nobody knows what it is."""
    words = [OTHER_NAMES.get(word.lower(), word) for word in asked]
    others = tuple(word for word in words if word != FACES)
    labels = wanted_labels(others, model, beside=FACES) or ()
    return Blurring(tuple(sorted(labels)), FACES in words, model.labels)


@dataclass(frozen=True, eq=False)
class FoundAndCovered:
    """What was found in a video, and what of it is to be covered, which its record does not say."""

    found: ObjectsFound
    names: list[str]
    covered: Covered

    def to_record(self) -> dict[str, Any]:
        """Return the record's own fields, and what `hiding` takes out of them."""
        return {**self.found.to_record(), "blurred": self.names, _COVERED: self.covered}


def hiding(record: dict[str, Any]) -> Edit:
    """Return what hides what is covered; the record no longer has it then."""
    from vmm_cli.pictures.hiding import hidden

    covered: Covered = record.pop(_COVERED)
    return lambda time_s, image: hidden(image, covered.at(time_s))
