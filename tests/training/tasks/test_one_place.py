"""What differs between tasks is said by their rows: nothing else asks which task it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

from tests.sources import trees
from vmm_cli.tasks import PURPOSES

ROWS = "training/tasks/"
FLAGS = {"timed", "rated"}  # of a data set, as they were once
KEYS = {"mAP", "emotions"}  # of metrics, that only one task has
# Where it may be asked, and why: a bundle of one task is run by code that runs no other.
ALLOWED = {
    "inference/classify_request.py": "refuses a bundle that it cannot run",
    "operations/action_models.py": "runs bundles of three tasks",
    "analysis/sentiment/fusion.py": "refuses a bundle that it cannot run",
    "inference/in_graph.py": "asks which head a network has, for what goes in and comes out of it",
    "exports/kinds.py": "refuses a bundle that it cannot export",
    "exports/windows.py": "refuses a bundle that it cannot export",
    "inference/valence.py": "refuses a bundle that it cannot run",
}


def constants(node: ast.expr) -> set[object]:
    """Return a constant, or those in a tuple, list or set of them."""
    inner = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    return {one.value for one in inner if isinstance(one, ast.Constant)}


def questions(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield where a piece of code asks which task it is, by name, by flag or by a key."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            is_in = any(isinstance(one, ast.In | ast.NotIn) for one in node.ops)
            asked = {*PURPOSES, "steps"} | (KEYS if is_in else set())
            if asked & set().union(*map(constants, sides)):
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.MatchValue) and constants(node.value) & PURPOSES.keys():
            yield node.value.lineno, ast.unparse(node)
        elif isinstance(node, ast.Attribute) and node.attr in FLAGS:
            yield node.lineno, ast.unparse(node)


@cache
def places() -> list[tuple[str, str]]:
    """Return files of the package that ask, and what they ask; flags count in training alone."""
    found = []
    for name, tree in trees().items():
        for line, asked in questions(tree):
            is_flag = asked.rsplit(".", 1)[-1] in FLAGS
            if not is_flag or name.startswith(("training/", "cli/train", "cli/evaluate")):
                found.append((name, f"{name}:{line}: {asked}"))
    return found


def test_no_other_module_asks_which_task_it_is() -> None:
    found = [where for name, where in places() if not name.startswith(ROWS) and name not in ALLOWED]
    assert not found, "\n".join(found)


def test_what_is_allowed_is_needed() -> None:
    assert ALLOWED.keys() <= {name for name, _ in places()}


def test_such_questions_are_found() -> None:
    code = """
if recipe.task == "segments" or data.timed: pass
if "mAP" in metrics: pass
if bundle.task not in ("classes", "valence"): pass
match task:
    case "valence": pass
"""
    assert len(list(questions(ast.parse(code)))) == 5
    harmless = 'record["valence"]; columns = ("valence", "emotion"); head = "classes"'
    assert not list(questions(ast.parse(harmless)))
