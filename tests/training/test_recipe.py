"""Recipes: those that ship, those that users write, and all that can be wrong with one."""

from __future__ import annotations

import importlib
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmm_cli.errors import RecipeError
from vmm_cli.features import catalogue
from vmm_cli.training import read_recipe as recipes
from vmm_cli.training.read_recipe import (
    FRONT_ENDS,
    list_recipes,
    load_recipe,
)
from vmm_cli.training.recipe import FUSION, TEMPORAL, Optimisation, Recipe, StreamRecipe, to_yaml
from vmm_cli.training.tasks.catalogue import TASKS, task_of

SHIPPED = {
    "default",
    "frames",
    "cnn-lstm",
    "cnn-attention",
    "cnn-transformer",
    "image-text",
    "image-audio-text",
    "graph",
    "few",
    "motion",
    "people",
    "normal",
    "segments",
    "sentiment",
    "sentiment-text",
    "steps",
}


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def mistakes(name_or_file: str, *overrides: str) -> str:
    with pytest.raises(RecipeError) as refused:
        load_recipe(name_or_file, overrides)
    return str(refused.value)


# --- what ships ---------------------------------------------------------------------------------


def test_the_recipes_that_ship_are_listed_and_load() -> None:
    listed = list_recipes()
    assert listed[0][0] == "default"
    assert {name for name, _ in listed} == SHIPPED
    for name, description in listed:
        recipe = load_recipe(name)
        assert (recipe.name, recipe.description) == (name, description)
        assert description and "\n" not in description


def test_the_classic_designs_are_what_people_know_them_by() -> None:
    assert list(load_recipe("frames").streams) == ["image"]
    assert load_recipe("frames").temporal == "mean"
    assert load_recipe("cnn-lstm").temporal == "lstm"
    assert load_recipe("cnn-attention").fusion == "attention"
    assert load_recipe("cnn-transformer").temporal == "transformer"
    image_text = load_recipe("image-text")
    assert image_text.streams["text"] == StreamRecipe("words", "lstm")
    assert image_text.fusion == "concat"
    three = load_recipe("image-audio-text")
    assert list(three.streams) == ["image", "audio", "text"] and three.fusion == "attention"
    assert three.streams["audio"] == StreamRecipe("log-mel", "cnn")
    assert load_recipe("graph").fusion == "graph"


HEADS_OF_NETWORKS = tuple(
    head for task in TASKS.values() if task.learn is None for head in task.heads
)


@pytest.mark.parametrize(
    ("module", "choices", "names"),
    [
        ("temporal", "TEMPORAL", TEMPORAL),
        ("fusion", "FUSION", FUSION),
        ("frontends", "FRONT_ENDS", FRONT_ENDS),
        ("heads", "HEADS", HEADS_OF_NETWORKS),
    ],
)
def test_the_names_are_those_of_the_networks(
    module: str, choices: str, names: tuple[str, ...]
) -> None:
    name = f"vmm_cli.networks.{module}"
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not there")
    assert tuple(getattr(importlib.import_module(name), choices)) == names


def test_every_encoder_of_the_catalogue_can_be_chosen() -> None:
    for name, row in catalogue.ENCODERS.items():
        recipe = load_recipe("default", [f"streams={{{row.stream}: {{encoder: {name}}}}}"])
        assert recipe.streams[row.stream] == StreamRecipe(name, row.front_ends[0])


def test_every_encoder_has_front_ends() -> None:
    for row in catalogue.ENCODERS.values():
        assert row.front_ends and set(row.front_ends) <= set(FRONT_ENDS)


def test_listing_recipes_loads_no_torch() -> None:
    code = (
        "import sys; from vmm_cli.training.read_recipe import list_recipes, load_recipe\n"
        "[load_recipe(name) for name, _ in list_recipes()]; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=300, check=False).returncode == 0


# --- reading ------------------------------------------------------------------------------------


def test_a_file_says_little_and_the_rest_has_defaults(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, "\ufeffstreams: [image, text]\nlayers: 2\n"))
    assert recipe == Recipe(
        name="mine",
        description="",
        streams={
            "image": StreamRecipe("efficientnet-lite0", "identity"),
            "text": StreamRecipe("words", "lstm"),
        },
        layers=2,
    )
    assert recipe.optimisation == Optimisation()


def test_streams_can_be_told_in_full(tmp_path: Path) -> None:
    text = """
name: mine too
streams:
  audio: {encoder: log-mel}
  image: {front_end: change, train_last: 2}
  motion:
optimisation: {learning_rate: 1e-4, class_weights: no, epochs: 5}
"""
    recipe = load_recipe(written(tmp_path, text))
    assert recipe.name == "mine too"
    assert dict(recipe.streams) == {
        "audio": StreamRecipe("log-mel", "cnn"),
        "image": StreamRecipe("efficientnet-lite0", "change", {"train_last": 2}),
        "motion": StreamRecipe("motion-crop", "change"),
    }
    assert list(recipe.streams) == ["audio", "image", "motion"]
    assert recipe.optimisation == Optimisation(learning_rate=1e-4, class_weights=False, epochs=5)


def test_keys_are_set_from_outside() -> None:
    overrides = [
        "optimisation.epochs=5",
        "temporal=gru",
        "streams.image.train_last=3",
        "streams.audio=",
        " dropout = 0.5",
    ]
    recipe = load_recipe("frames", overrides)
    assert recipe.optimisation.epochs == 5
    assert (recipe.temporal, recipe.dropout) == ("gru", 0.5)
    assert recipe.streams["image"].options == {"train_last": 3}
    assert recipe.streams["audio"] == StreamRecipe("log-mel-statistics", "identity")
    assert list(load_recipe("default", ["streams=[text]"]).streams) == ["text"]
    assert load_recipe("frames").optimisation.epochs != 5  # what ships is not changed


def test_an_override_changes_one_place_though_yaml_has_aliases(tmp_path: Path) -> None:
    text = "streams:\n  image: &same {front_end: change}\n  motion: *same\n"
    recipe = load_recipe(written(tmp_path, text), ["streams.image.front_end=identity"])
    assert recipe.streams["image"].front_end == "identity"
    assert recipe.streams["motion"].front_end == "change"


# --- mistakes -----------------------------------------------------------------------------------


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = """
streems: [image]
streams:
  image: {encoder: efficientnet-lite, frontend: change}
  smell: {}
  audio: {encoder: log-mel, front_end: identity}
  text: {front_end: ltsm}
temporal: lstmm
fusion: [concat]
rate_hz: fast
layers: 1.5
dropout: 2
description: 7
optimisation: {epoch: 5, batch: 0, class_weights: 1, learning_rate: .nan}
"""
    overrides = ["optimisation.clip=0", "nonsense", "a.=1", "fusion.x=1"]
    said = mistakes(written(tmp_path, text), *overrides)
    for part in (
        "20 mistakes: (1)",
        "'nonsense' sets nothing; write key=value",
        "'a.=1' sets nothing",
        "'fusion.x=1': fusion has a value, and nothing inside",
        "streems: there is no such key; did you mean 'streams'?",
        "streams.image.frontend: there is no such key; did you mean 'front_end'?",
        "streams.image.encoder: 'efficientnet-lite' is none of efficientnet-lite0",
        "did you mean 'efficientnet-lite0'?",
        "streams: 'smell' is none of image, motion, audio, text",
        "streams.audio.front_end: 'identity' cannot take what the encoder 'log-mel' gives; cnn can",
        "streams.text.front_end: 'ltsm' is none of lstm; did you mean 'lstm'?",
        "temporal: 'lstmm' is none of mean, lstm, gru, transformer, tcn, none",
        "did you mean 'lstm'?",
        "fusion: ['concat'] is none of concat, weighted",
        "rate_hz: 'fast' is not a number from 0.01 to 60",
        "layers: 1.5 is not a whole number from 1 to 16",
        "dropout: 2 is not a number from 0 to 0.95",
        "description: 7 is not a line of text",
        "optimisation.epoch: there is no such key; did you mean 'epochs'?",
        "optimisation.batch: 0 is not a whole number from 1",
        "optimisation.class_weights: 1 is not true or false",
        "optimisation.learning_rate: nan is not a number",
        "optimisation.clip: 0 is not a number from 1e-06",
    ):
        assert part in said, part


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no keys with values"),
        ("just words", "holds no keys with values"),
        ("a: [", "is not readable as YAML"),
        ("!!python/object/apply:os.getcwd []", "is not readable as YAML"),
        ("a: " + "[" * 1000, "is not readable as YAML"),
        ("temporal: gru", "streams: names no stream; there are image, motion, audio, text"),
        ("streams: {}", "streams: {} names no stream"),
        ("streams: image", "streams: 'image' names no stream"),
        ("streams: [{image: {}}]", "names no stream"),
        ("streams: {image: yes}", "streams.image: True is not keys with values"),
        ("streams: [image]\noptimisation: 5", "optimisation: 5 is not keys with values"),
        ("streams: [image]\nyes: 5", "True: there is no such key; there are name"),
        ("streams: [image]\nwidth: true", "width: True is not a whole number"),
        ("streams: [image]\nrate_hz: 50\nwindow_s: 600", "has more than 4096 steps"),
        ("streams: [image]\nrate_hz: 4\nwindow_s: 3.75", "must be an even whole number"),
        ("streams: [image]\nfusion:", "fusion: None is none of concat"),
        ("streams: {text: {train_last: 1}}", "streams.text.train_last: there is no such key"),
        ("streams: {text: {front_end: cnn}}", "'cnn' cannot take what the encoder 'words' gives"),
        ("streams: {image: {train_last: -1}}", "train_last: -1 is not a whole number from 0"),
        ("streams: [image]\nwidth: 8\nwidth: 9", "given a second time: width in line 3"),
        ("streams:\n  image:\n  motion:\n  image:", "a second time: image in line 4"),
        ("streams: [image]\na:\n - {b: 1, b: 2}", "a second time: b in line 3"),
        ("a: &a\n - *a\n - 1", "line 2: the alias 'a' lies in what it stands for"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    assert said in mistakes(written(tmp_path, text))


def test_a_key_given_twice_is_one_mistake_of_several(tmp_path: Path) -> None:
    said = mistakes(written(tmp_path, "streams: [image]\nwidth: 8\nwidth: 9\nfusion: sum"))
    assert "2 mistakes: (1) given a second time: width in line 3; leave one of each" in said
    assert "(2) fusion: 'sum' is none of" in said


def test_lists_that_are_endless_when_written_out_are_refused_quickly(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += (f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30))
    text = "\n".join([*lines, "temporal: *a29", "streams: *a29"])
    said = mistakes(written(tmp_path, text))
    assert "its aliases stand for too much" in said and len(said) < 1000


def test_a_recipe_that_is_not_there_is_told(tmp_path: Path) -> None:
    said = mistakes("deafult")
    assert said.startswith("no recipe named 'deafult'; did you mean 'default'? See `vmm models")
    assert mistakes("zzz").startswith("no recipe named 'zzz'. See `vmm models list --recipes`")
    assert "cannot be read: No such file" in mistakes(str(tmp_path / "none.yaml"))
    folder = tmp_path / "folder.yaml"
    folder.mkdir()
    assert "cannot be read" in mistakes(str(folder))
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"description: f\xfcr\n")
    assert "is not readable as YAML" in mistakes(str(latin))


def test_a_value_that_is_no_yaml_is_told() -> None:
    assert "the value is not readable as YAML: line" in mistakes("frames", "fusion=[")
    long = mistakes("frames", f"optimisation.epochs={'9' * 5000}")
    assert len(long) < 200 and "a number of 5000 digits" in long


# --- heads that say when ------------------------------------------------------------------------


def test_what_a_recipe_is_for_follows_from_its_head(tmp_path: Path) -> None:
    assert task_of(load_recipe("default").head).name == "classes"
    for name in ("segments", "steps"):
        shipped = load_recipe(name)
        assert (shipped.head, task_of(shipped.head).name) == (name, "segments")
        assert shipped.streams["motion"].encoder == "motion-energy"
        assert shipped.optimisation.patience == 0
    plain = load_recipe(written(tmp_path, "head: segments\nstreams: [image]\nlevels: 3\n"))
    assert (plain.temporal, plain.levels, plain.head) == ("none", 3, "segments")
    classes = load_recipe(written(tmp_path, "streams: [image]"))
    assert (classes.temporal, classes.head) == ("mean", "classes")


def test_motion_is_energy_where_there_are_no_windows(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, "head: steps\nstreams: [motion]\ntemporal: tcn\n"))
    assert recipe.streams["motion"] == StreamRecipe("motion-energy", "identity")
    # A model for classes can have it too.
    text = "streams: {motion: {encoder: motion-energy}}"
    assert load_recipe(written(tmp_path, text)).streams["motion"].encoder == "motion-energy"


@pytest.mark.parametrize("head", ["segments", "steps"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("temporal: lstm", "temporal: 'lstm' is none of none, tcn"),
        ("temporal: mean", "temporal: 'mean' is none of none, tcn"),
        ("temporal: transformer", "temporal: 'transformer' is none of none, tcn"),
        (
            "streams: {motion: {encoder: motion-crop}}",
            "streams.motion.encoder: 'motion-crop' is none of motion-energy",
        ),
        ("streams: {motion: {encoder: motion-crops}}", "'motion-crops' is none of motion-energy"),
        ("streams: {image: {train_last: 1}}", "streams.image.train_last: not with the head"),
        ("optimisation: {mixup: 0.2}", "optimisation.mixup: the head"),
        ("optimisation: {label_smoothing: 0.1}", "optimisation.label_smoothing: the head"),
        ("levels: 0", "levels: 0 is not a whole number from 1 to 12"),
        ("levels: 13", "levels: 13 is not a whole number from 1 to 12"),
        ("levels: 2.5", "levels: 2.5 is not a whole number from 1 to 12"),
    ],
)
def test_what_a_head_that_says_when_cannot_have(
    tmp_path: Path, head: str, text: str, said: str
) -> None:
    streams = "" if text.startswith("streams") else "streams: [image]\n"
    refused = mistakes(written(tmp_path, f"head: {head}\n{streams}{text}\n"))
    assert said in refused
    assert "mistakes" not in refused, "and nothing else is wrong"


def test_all_that_a_head_cannot_have_is_told_at_once() -> None:
    said = mistakes(
        "segments",
        "temporal=gru",
        "streams.image.train_last=2",
        "streams.motion.encoder=motion-crop",
        "optimisation.mixup=0.1",
        "optimisation.label_smoothing=0.1",
    )
    assert "5 mistakes: (1)" in said
    for part in ("'gru' is none of", "train_last: not with", "'motion-crop' is none of", "mixup"):
        assert part in said, part


def test_a_head_that_is_not_there_is_told() -> None:
    said = mistakes("segments", "head=segment")
    listed = "classes, valence, steps, segments, normal; did you mean 'segments'?"
    assert f"head: 'segment' is none of {listed}" in said


# --- writing ------------------------------------------------------------------------------------


LEARNS = "efficientnet-lite0"  # the one encoder whose last blocks can be trained


def streams() -> st.SearchStrategy[dict[str, StreamRecipe]]:
    def of(stream: str) -> st.SearchStrategy[StreamRecipe]:
        names = catalogue.choices(stream)
        pairs = [(e, f) for e in names for f in catalogue.entry(e).front_ends]
        options: Any = st.just({})
        if stream == "image":
            options = st.one_of(st.just({}), st.builds(dict, train_last=st.integers(0, 9)))
        return st.builds(
            lambda pair, chosen: StreamRecipe(*pair, chosen if pair[0] == LEARNS else {}),
            st.sampled_from(pairs),
            options,
        )

    every = {stream: of(stream) for stream in catalogue.streams()}
    return st.fixed_dictionaries({}, optional=every).filter(bool)


def numbers(ranges: Any) -> dict[str, st.SearchStrategy[Any]]:
    return {
        key: st.integers(int(r.low), int(r.high)) if r.whole else st.floats(r.low, r.high)
        for key, r in ranges.items()
    }


# Steps a second, and half the steps of a window: a window must have an even number of steps.
GRIDS = st.tuples(st.sampled_from([0.5, 1.0, 2.5, 4.0, 8.0, 25.0]), st.integers(1, 50)).map(
    lambda grid: {"rate_hz": grid[0], "window_s": 2 * grid[1] / grid[0]}
)
RECIPES = st.builds(
    lambda grid, **others: Recipe(**grid, **others),
    GRIDS,
    name=st.text().filter(str.isprintable),
    description=st.text().filter(str.isprintable),
    streams=streams(),
    temporal=st.sampled_from(TEMPORAL),
    fusion=st.sampled_from(FUSION),
    optimisation=st.builds(
        Optimisation, class_weights=st.booleans(), **numbers(recipes._OPTIMISATION_NUMBERS)
    ),
    **numbers({k: r for k, r in recipes._NUMBERS.items() if k not in ("rate_hz", "window_s")}),
)


def with_head(recipe: Recipe, head: str) -> Recipe:
    """Return the recipe with another head, without what that one cannot have."""
    streams = {
        name: StreamRecipe("motion-energy", "identity")
        if name == "motion"
        else replace(stream, options=dict.fromkeys(stream.options, 0))
        for name, stream in recipe.streams.items()
    }
    learnt = replace(recipe.optimisation, mixup=0.0, label_smoothing=0.0)
    changed = replace(recipe, head=head, streams=streams, optimisation=learnt)
    return replace(changed, temporal="tcn" if recipe.temporal == "tcn" else "none")


HEADED = st.one_of(RECIPES, st.builds(with_head, RECIPES, st.sampled_from(["steps", "segments"])))


@settings(max_examples=60)
@given(HEADED)
def test_what_is_written_reads_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, recipe: Recipe
) -> None:
    text = to_yaml(recipe)
    again = load_recipe(written(tmp_path_factory.mktemp("r"), text))
    assert again == recipe and list(again.streams) == list(recipe.streams)
    assert to_yaml(again) == text


def test_what_is_written_is_complete() -> None:
    text = to_yaml(load_recipe("default"))
    for name in (f.name for f in (*fields(Recipe), *fields(Optimisation))):
        assert f"{name}:" in text
    assert text.count("encoder:") == text.count("front_end:") == 2
    assert "options" not in text


def test_writing_changes_nothing() -> None:
    recipe = load_recipe("frames", ["streams.image.train_last=1"])
    before = asdict(recipe)
    to_yaml(recipe)
    assert asdict(recipe) == before == asdict(replace(recipe))


def test_without_a_network_streams_are_features_of_steps() -> None:
    """No network takes the words, the patches of a spectrogram or a window's own crop."""
    for stream in ("{audio: {encoder: log-mel}}", "{text: {encoder: words}}"):
        said = mistakes("normal", f"streams={stream}")
        assert "there is no network to take it" in said
    assert "motion-crop" in mistakes("normal", "streams={motion: {encoder: motion-crop}}")
    for name, row in catalogue.ENCODERS.items():
        if "identity" in row.front_ends and not row.per_window:
            recipe = load_recipe("normal", [f"streams={{{row.stream}: {{encoder: {name}}}}}"])
            assert recipe.streams[row.stream].front_end in ("identity", "change", "identity-change")


def test_what_is_usual_has_numbers_of_its_own() -> None:
    assert load_recipe("normal", ["usual.nearest=5"]).usual.nearest == 5
    assert "usual.nearest: 0 is not a whole number" in mistakes("normal", "usual.nearest=0")
    assert "usual: the head 'classes' has no use" in mistakes("default", "usual.nearest=5")
    assert "usual.near" in mistakes("normal", "usual.near=5")
