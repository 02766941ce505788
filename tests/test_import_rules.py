"""The walls between the rooms: who may import whom."""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import PurePosixPath

import pytest

import vmm_cli
from tests.sources import trees

FORBIDDEN_NAMES = {"utils.py", "helpers.py", "common.py", "base.py"}

# Third-party package -> the rooms (or modules) that may import it.
ONLY_IN = {
    "av": {"media"},
    "onnx": {"engines", "exports"},
    "onnxscript": {"engines"},
    "rich": {"cli", "output"},
    "typer": {"cli"},
}
TORCH = {"torch", "torchvision"}
# Rooms whose modules may not load torch, however indirectly, when they are imported.
LIGHT_ROOMS = {"media", "batch", "cli", "operations"}
USERS_OF_MEDIA = {
    "analysis",
    "batch",
    "cli",
    "features",
    "networks",
    "output",
    "pictures",
    "training",
}


def module_name(file: str) -> str:
    parts = ["vmm_cli", *PurePosixPath(file).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(tree: ast.AST, *, at_import_only: bool) -> set[str]:
    """Names of the imported modules; with `at_import_only` those that importing loads."""
    found: set[str] = set()
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        if at_import_only and (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            or is_type_checking(node)
        ):
            continue
        stack.extend(ast.iter_child_nodes(node))
    return found


@cache
def at_import() -> dict[str, set[str]]:
    """What each module loads as it is imported."""
    return {module_name(f): imports(tree, at_import_only=True) for f, tree in trees().items()}


@cache
def ever() -> dict[str, set[str]]:
    """What each module imports at all."""
    return {module_name(f): imports(tree, at_import_only=False) for f, tree in trees().items()}


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def tops(names: set[str]) -> set[str]:
    return {n.split(".")[0] for n in names}


@pytest.mark.parametrize("package", ONLY_IN)
def test_a_library_stays_in_its_room(package):
    users = {room(name) for name, names in ever().items() if package in tops(names)}
    assert users == ONLY_IN[package]


def test_networks_import_torch_and_nothing_of_ours():
    for name, names in ever().items():
        if room(name) == "networks":
            ours = {n for n in names if n.startswith("vmm_cli") and room(n) != "networks"}
            assert not ours, name
            assert tops(names) - {"vmm_cli", "torch"} <= set(sys.stdlib_module_names), name


def test_only_the_shell_and_its_entry_know_the_shell():
    users = {
        name for name, names in ever().items() if any(n.startswith("vmm_cli.cli") for n in names)
    }
    assert {name for name in users if room(name) != "cli"} == {"vmm_cli.__main__"}


def test_media_stands_on_nothing_that_uses_it():
    for name, names in ever().items():
        if room(name) == "media":
            ours = {room(n) for n in names if n.startswith("vmm_cli.")}
            assert not ours & USERS_OF_MEDIA, name


def test_engines_load_torch_to_write_graphs_alone():
    for name in ever():
        if room(name) == "engines" and name != "vmm_cli.engines.export":
            assert not tops(ever()[name] | loaded_by(name)) & TORCH, name


def test_analysis_knows_neither_shell_nor_output():
    for name, names in ever().items():
        if room(name) == "analysis":
            assert not {n for n in names if n.startswith(("vmm_cli.cli", "vmm_cli.output"))}, name


def loaded_by(name: str) -> set[str]:
    """All that importing a module of ours loads."""
    seen: set[str] = set()
    stack = [name]
    while stack:
        for imported in at_import().get(stack.pop(), ()):
            if imported not in seen:
                seen.add(imported)
                stack.append(imported)
    return seen


def test_the_light_rooms_load_no_torch():
    for name in ever():
        if room(name) in LIGHT_ROOMS:
            assert not tops(loaded_by(name)) & TORCH, name


def refuse_cycles(graph: dict[str, set[str]]) -> None:
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path, name])
        if name not in done:
            for following in sorted(graph[name] - {name}):
                visit(following, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_there_are_no_import_cycles():
    refuse_cycles({name: {n for n in names if n in ever()} for name, names in at_import().items()})


def test_rooms_import_one_way_lazy_imports_included():
    rooms: dict[str, set[str]] = {room(name): set() for name in ever()}
    for name, names in ever().items():
        if name == vmm_cli.__name__:
            continue  # it gives out what the library has
        rooms[room(name)] |= {room(n) for n in names if n in ever()}
    refuse_cycles(rooms)


def test_no_file_is_a_drawer_for_odds_and_ends():
    assert not {PurePosixPath(file).name for file in trees()} & FORBIDDEN_NAMES
