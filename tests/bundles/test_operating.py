"""Operating curves in a bundle: read as what comes from others."""

from __future__ import annotations

from typing import Any

import pytest

from vmm_cli.bundles.operating import MOST_LABELS, MOST_POINTS, as_fields, operating_of

POINTS = [[0.9, 0.25, 0.0], [0.5, 0.75, 2.0], [0.001, None, 30.0]]
CURVE = {"n": 4, "hours": 0.5, "threshold": 0.6, "points": POINTS}


def read(**changed: Any) -> Any:
    return operating_of({"fight": CURVE | changed}, ("fight", "calm"))["fight"]


def test_a_curve_is_read() -> None:
    curve = read()
    assert (curve.n, curve.hours, curve.threshold) == (4, 0.5, 0.6)
    assert curve.points[2].recall is None
    assert curve.smallest_rate == 2
    assert read(threshold=None).threshold is None


@pytest.mark.parametrize(("hourly", "threshold"), [(0, 0.9), (1.9, 0.9), (2, 0.5), (999, 0.001)])
def test_a_point_has_at_most_so_many_false_alarms(hourly: float, threshold: float) -> None:
    assert read().at(hourly).threshold == threshold


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"n": -1}, "n is -1"),
    ({"n": True}, "n is True"),
    ({"hours": 0}, "hours is 0"),
    ({"hours": float("inf")}, "hours is inf"),
    ({"threshold": 1.5}, "threshold is 1.5"),
    ({"points": []}, "has not from 1 to"),
    ({"points": POINTS[:1] * (MOST_POINTS + 1)}, "has not from 1 to"),
    ({"points": [[0.5, 0.5]]}, "a point is not"),
    ({"points": [[0.5, "much", 0]]}, "a recall is 'much'"),
    ({"points": [[0.5, 0.5, -1]]}, "false alarms an hour is -1"),
    ({"points": POINTS[::-1]}, "not in order"),
]


@pytest.mark.parametrize(("changed", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_is_no_curve_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(**changed)


def test_curves_are_of_labels_and_not_too_many() -> None:
    with pytest.raises(ValueError, match="'other', which is no label"):
        operating_of({"other": CURVE}, ("fight",))
    many = [str(i) for i in range(MOST_LABELS + 1)]
    with pytest.raises(ValueError, match="operating curves of 201 labels"):
        operating_of(dict.fromkeys(many, CURVE), many)
    with pytest.raises(ValueError, match="not labels with curves"):
        operating_of([CURVE], ("fight",))


def test_thresholds_are_carried_where_they_were_chosen() -> None:
    assert "threshold" not in as_fields({"fight": CURVE}, told=False)["fight"]
    assert as_fields({"fight": CURVE}, told=True) == {"fight": CURVE}
