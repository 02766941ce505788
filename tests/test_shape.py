"""Functions fit on a screen, take few parameters, and files have one reason to change."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

from tests.sources import texts, trees

MAX_LINES = 60  # of a function, its signature and docstring included
MAX_PARAMETERS = 8  # self and cls apart
MAX_FILE_LINES = 450

OPTIONS = "Typer takes a command's options as parameters"

# What is larger, and why: "file" or "file::function".
LONG_FUNCTIONS = {
    "cli/train.py::train": OPTIONS,
}
MANY_PARAMETERS = {
    "cli/evaluate.py::evaluate": OPTIONS,
    "cli/export.py::export": OPTIONS,
    "cli/train.py::train": OPTIONS,
    "networks/model.py::FusionNetwork.__init__": "one for each key of a bundle's `network`",
}
LONG_FILES = {}


def functions(tree: ast.AST, inside: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield all functions by the names of what they stand in and their own: Class.method."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{inside}{node.name}"
            if not isinstance(node, ast.ClassDef):
                yield name, node
            yield from functions(node, f"{name}.")
        else:
            yield from functions(node, inside)


def length(function: ast.FunctionDef) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def parameters(function: ast.FunctionDef) -> int:
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    if named and named[0].arg in ("self", "cls"):
        del named[0]
    return len(named) + (given.vararg is not None) + (given.kwarg is not None)


@cache
def all_functions() -> dict[str, ast.FunctionDef]:
    return {
        f"{file}::{name}": function
        for file, tree in trees().items()
        for name, function in functions(tree)
    }


def check(sizes: dict[str, int], limit: int, exceptions: dict[str, str]) -> None:
    """What is over the limit is in the table, and what is in the table is over the limit."""
    over = {name: size for name, size in sizes.items() if size > limit}
    assert {name: over[name] for name in over if name not in exceptions} == {}, (
        f"more than {limit}: divide it, or say in the table why not"
    )
    assert [name for name in exceptions if name not in over] == [], (
        "in the table and no longer needed there: take it out"
    )
    assert all(exceptions.values())


def test_functions_fit_on_a_screen() -> None:
    check({name: length(one) for name, one in all_functions().items()}, MAX_LINES, LONG_FUNCTIONS)


def test_functions_have_few_parameters() -> None:
    sizes = {name: parameters(one) for name, one in all_functions().items()}
    check(sizes, MAX_PARAMETERS, MANY_PARAMETERS)


def test_files_have_one_reason_to_change() -> None:
    check(
        {file: len(text.splitlines()) for file, text in texts().items()}, MAX_FILE_LINES, LONG_FILES
    )


def test_a_method_s_own_parameter_does_not_count() -> None:
    tree = ast.parse("class A:\n    def b(self, c, /, d, *e, f, **g):\n        pass\n")
    ((name, method),) = functions(tree)
    assert (name, length(method), parameters(method)) == ("A.b", 2, 5)
