from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vmm_cli.plain_yaml import MAX_DEPTH, MAX_VALUES, Document, YamlError, load

# PyYAML writes some line separators as they are, and reads them back as spaces.
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=12
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | TEXTS
NUMBERS = st.floats(allow_nan=False)
VALUES = st.recursive(
    SCALARS | NUMBERS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_written_is_what_is_read(value: object) -> None:
    assert load(yaml.safe_dump(value, allow_unicode=True)).value == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12:30:45", "12:30:45"),  # YAML 1.1 has it as 45045
        ("1:30.5", "1:30.5"),
        ("2024-01-01", "2024-01-01"),
        ("0x1f", "0x1f"),
        ("010", "010"),
        ("1_000", "1_000"),
        ("1_.5", "1_.5"),
        ("1e-3", "1e-3"),
        ("-7", -7),
        ("+7", 7),
        ("1.5e+3", 1500.0),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("no", False),
        ("On", True),
        ("~", None),
        ("", None),
        ("'5'", "5"),
        ("!!str 5", "5"),
        ("! 5", "5"),
        ("no: 1", {False: 1}),
        ("{a: &x [1], b: *x}", {"a": [1], "b": [1]}),
        ("{<<: [{a: 1}, {a: 2, b: 3}], c: 4}", {"a": 1, "b": 3, "c": 4}),
        ("'<<': {a: 1}", {"<<": {"a": 1}}),
        ("\ufeffa: 1", {"a": 1}),
        ("%YAML 1.1\n---\na: 1", {"a": 1}),
    ],
)
def test_scalars_are_plain(text: str, value: object) -> None:
    found = load(text).value
    assert found == value
    assert type(found) is type(value)


def test_no_number_is_a_number_of_yaml() -> None:
    assert math.isnan(load(".nan").value)


def bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += (f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30))
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (bomb(), "line 6: its aliases stand for too much"),
        ("a: &a " + "x" * 20_000 + "\nb: [" + "*a, " * 100 + "]", "aliases stand for too much"),
        ("a: &a [*a]", "line 1: the alias 'a' lies in what it stands for"),
        ("a: *b", "line 1: there is no anchor 'b' before it"),
        ("[" * 100_000, f"nested more than {MAX_DEPTH} deep"),
        ("{a: " * 100_000, f"nested more than {MAX_DEPTH} deep"),
        ("- " * 100_000, f"nested more than {MAX_DEPTH} deep"),
        ("- x\n" * (MAX_VALUES + 1), f"there are more than {MAX_VALUES} values"),
        ("a: " + "9" * 5000, "line 1: a number of 5000 digits"),
        ("a: 1\nb: !!python/object:os.system {}", "line 2: the tag 'tag:yaml.org,2002:python"),
        ("!!set {a, b}", "set' is not read"),
        ("a: !!binary aGk=", "binary' is not read"),
        ("a: !!int '5'", "int' is not read"),
        ("[1, 2]: 3", "line 1: a key is no single value"),
        ("<<: 5", "'<<' merges mappings"),
        ("a: 1\n---\nb: 2", "line 2: a second document begins"),
        ("a: [", "line 2: did not find"),
        ("a: b: c", "line 1: mapping values are not allowed"),
        ("\0", "control characters are not allowed"),
        ("\n".join(f"%TAG !a{i}! tag:x" for i in range(20_000)), "more than 8 directives"),
        (b"a: 1\nb: \xff", "line 2 is not UTF-8 text"),
        ("a: 1".encode("utf-16"), "line 1 is not UTF-8 text"),
    ],
)
def test_what_is_no_plain_yaml_is_told_with_its_line(text: str | bytes, said: str) -> None:
    with pytest.raises(YamlError) as caught:
        load(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_keys_given_twice_are_listed_by_line() -> None:
    assert load("a: 1\nb: {c: 1, c: 2}\na: 2\n") == Document(
        {"a": 2, "b": {"c": 2}}, (("c", 2), ("a", 3))
    )
