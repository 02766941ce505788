"""Records come in the order of the inputs, and few of them wait."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from vmm_cli.cli.ordering import LONGEST_HELD_S, MOST_HELD, InOrder


def written(names: list[str], coming: list[str]) -> list[str]:
    out: list[str] = []

    def write(record: Any) -> None:
        out.append(record["input"])

    ordered = InOrder(names, write)
    for name in coming:
        ordered.take({"input": name})
    ordered.flush()
    return out


@given(st.permutations([str(n) for n in range(MOST_HELD)]))
def test_records_come_in_the_order_of_the_inputs(coming: list[str]) -> None:
    names = [str(n) for n in range(MOST_HELD)]
    assert written(names, coming) == names


@given(st.permutations([str(n) for n in range(30)]), st.integers(0, 30))
def test_none_is_lost_where_a_run_is_cut_off(coming: list[str], n: int) -> None:
    names = [str(k) for k in range(30)]
    assert sorted(written(names, coming[:n])) == sorted(coming[:n])


def test_one_that_takes_long_holds_up_a_hundred_at_most() -> None:
    names = [str(n) for n in range(3 * MOST_HELD)]
    out = written(names, [*names[1:], names[0]])
    assert sorted(out) == sorted(names)
    assert out[-1] == "0", "it went on without the first"
    assert [n for n in out if n != "0"] == names[1:]


def test_names_that_nobody_announced_are_written_too() -> None:
    assert written(["a"], ["x", "a"]) == ["a", "x"]


def test_none_waits_for_long() -> None:
    out: list[str] = []
    clock = [0.0]
    ordered = InOrder(["a", "b", "c"], lambda record: out.append(record["input"]), lambda: clock[0])
    ordered.take({"input": "c"})
    ordered.release()
    assert out == []
    clock[0] = 2 * LONGEST_HELD_S
    ordered.release()
    assert out == ["c"]
    for name in ("a", "b"):
        ordered.take({"input": name})
    assert out == ["c", "a", "b"]
