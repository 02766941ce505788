"""Fetching models: from a server on this machine and from files, with random weights."""

from __future__ import annotations

import functools
import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tests.random_weights import random_network, random_weights, weights_for_all
from vmm_cli import bundles
from vmm_cli.batch.lock import lock
from vmm_cli.bundles.published import FETCHABLE
from vmm_cli.bundles.published_coco import COCO
from vmm_cli.errors import LockedError, ModelError, OutputError
from vmm_cli.features import catalogue, coco_bundle, torchvision_networks
from vmm_cli.features.image_encoder import encode
from vmm_cli.features.torchvision_bundle import card, read_state
from vmm_cli.fetching import fetch, torchvision

NAME = "torchvision/mobilenet_v3_large"  # the smallest file
Vmm = Callable[..., subprocess.CompletedProcess[str]]


@dataclass
class Site:
    """A folder that is served, and the requests that came."""

    url: str
    folder: Path
    asked: list[str]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return weights_for_all(NAME, tmp_path_factory)


@pytest.fixture
def site(weights: Path, tmp_path: Path) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    shutil.copy(weights, folder)
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            asked.append(self.path)

    handler = functools.partial(Handler, directory=os.fspath(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield Site(f"http://127.0.0.1:{server.server_address[1]}", folder, asked)
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("VMM_MODELS", "VMM_MODELS_URL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", os.fspath(tmp_path / "share"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    # The last step has tests of its own: tests/features/test_torchvision_graphs.py.
    monkeypatch.setattr(torchvision, "with_graphs", lambda bundle: bundle)
    return tmp_path / "share" / "vmm" / "models"


def fetched(source: str | None = None, *, name: str = NAME, force: bool = False) -> fetch.Fetched:
    return fetch.fetch(name, source, force=force, on_progress=lambda *at: None)


def files_in(folder: Path) -> set[str]:
    return {os.fspath(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir()}


def work(home: Path) -> Path:
    """Where a fetch puts what is not whole yet."""
    return home / ".fetch" / NAME.replace("/", "-")


BUNDLE_FILES = {
    f"{NAME}/{file}" for file in ("CARD.md", "bundle.yaml", "recipe.yaml", "weights.safetensors")
}


def test_a_fetched_model_is_a_bundle_and_an_encoder(site: Site, weights: Path, home: Path) -> None:
    seen: list[str] = []
    done = fetch.fetch(
        NAME, f"{site.url}/{weights.name}", on_progress=lambda what, *at: seen.append(what)
    )
    assert not done.already and not done.is_original
    assert files_in(home) == BUNDLE_FILES
    assert seen[0] == f"downloading {weights.name}"
    assert seen[-2:] == ["checking and converting", "writing its graph"]

    model = bundles.load(NAME)
    assert model.folder == home / NAME
    assert model.source["sha256"].startswith(weights.stem.rsplit("-", 1)[1])
    assert len(model.source["sha256"]) == 64
    assert model.source["url"].endswith(weights.name)
    assert "espresso" in model.labels and len(model.labels) == 1000
    assert "not known" in model.licence["weights"]
    encoder = catalogue.load_image_encoder(model, "cpu")
    images = np.zeros((1, 224, 224, 3), np.uint8)
    head = bundles.load_tensors(model, "head.")
    ours = encode(encoder, images) @ head["weight"].T + head["bias"]
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    x = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)]).reshape(1, 3, 1, 1)
    with torch.inference_mode():
        theirs = random_network(NAME)(x.expand(1, 3, 224, 224)).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())
    listed = {model.name: model for model in bundles.list_bundles()}
    assert isinstance(listed[NAME], bundles.Bundle)


def test_what_is_there_is_not_fetched_again(site: Site, weights: Path) -> None:
    source = f"{site.url}/{weights.name}"
    fetched(source)
    asked = len(site.asked)
    assert fetched(source).already
    assert fetched().already  # wherever it came from
    assert len(site.asked) == asked
    assert not fetched(source, force=True).already
    assert len(site.asked) == asked + 1


def test_what_is_there_but_damaged_is_fetched_again(weights: Path, home: Path) -> None:
    fetched(os.fspath(weights))
    (home / NAME / "weights.safetensors").write_bytes(b"damaged")
    assert not fetched(os.fspath(weights)).already
    bundles.load(NAME)


def test_what_the_user_put_there_stays(weights: Path, home: Path) -> None:
    fetched(os.fspath(weights))
    notes = home / NAME / "notes.txt"
    notes.write_text("my notes")
    (home / NAME / "weights.safetensors").write_bytes(b"damaged")
    for force in (False, True):
        with pytest.raises(OutputError, match="which no fetch put there; move it away"):
            fetched(os.fspath(weights), force=force)
    assert notes.read_text() == "my notes"


@pytest.mark.parametrize("bundle_yaml", [None, "no: bundle", "trained"])
def test_a_folder_that_no_fetch_made_stays(
    weights: Path, home: Path, bundle_yaml: str | None
) -> None:
    """Its files may have the very names of a fetched model's: a training's do."""
    folder = home / NAME
    fetched(os.fspath(weights))
    described = yaml.safe_load((folder / "bundle.yaml").read_text())
    (folder / "weights.safetensors").write_bytes(b"damaged")
    (folder / "CARD.md").write_text("my own notes")
    if bundle_yaml is None:
        (folder / "bundle.yaml").unlink()
    elif bundle_yaml == "trained":
        del described["source"]
        (folder / "bundle.yaml").write_text(yaml.safe_dump(described))
    else:
        (folder / "bundle.yaml").write_text(bundle_yaml)
    with pytest.raises(OutputError, match=f"{NAME}: is there.*give --force"):
        fetched(os.fspath(weights))
    assert (folder / "CARD.md").read_text() == "my own notes"
    fetched(os.fspath(weights), force=True)
    assert bundles.load(NAME).source


def test_the_address_is_torchvision_s_or_a_mirror_s(
    site: Site, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the true name of the file: of a mirror, whose content is then not what it says."""
    monkeypatch.setenv("VMM_MODELS_URL", f"{site.url}/")
    with pytest.raises(ModelError, match=r"mobilenet_v3_large-5c1a4163\.pth.* 404 .* --from FILE"):
        fetched()
    shutil.copy(weights, site.folder / "mobilenet_v3_large-5c1a4163.pth")
    with pytest.raises(ModelError, match=r"begins with .* and not with 5c1a4163"):
        fetched()
    assert not (bundles.user_models() / NAME).exists()


def test_a_published_file_is_known_as_such(
    site: Site, weights: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if torchvision published these random weights."""
    said = torchvision_networks.published(NAME)
    there = torchvision_networks.Published(
        f"https://nowhere.invalid/{weights.name}", said.labels, said.accuracy, said.recipe
    )
    monkeypatch.setattr("vmm_cli.features.torchvision_bundle.published", lambda name: there)
    true = torchvision.file_of(NAME)
    published = replace(true, url=there.url, digest=torchvision.digest_in(weights.name))
    monkeypatch.setattr(torchvision, "file_of", lambda name: published)
    monkeypatch.setenv("VMM_MODELS_URL", site.url)
    assert fetched().is_original
    assert files_in(home) == BUNDLE_FILES | {f"{NAME}/metrics.json"}
    text = (home / NAME / "CARD.md").read_text()
    assert "ImageNet-1K acc@1 75.274 %" in text
    assert "may have licences" in " ".join(text.split())
    assert "MobileNet_V3_Large_Weights.IMAGENET1K_V2" in text


@pytest.mark.parametrize("name", FETCHABLE)
def test_every_card_says_where_it_is_from(name: str) -> None:
    said = torchvision_networks.published_as(FETCHABLE[name].weights)
    source = {"file": said.url.rsplit("/", 1)[1], "sha256": "0" * 64, "url": said.url}
    made = coco_bundle.card if name in COCO else card
    text = made(name, said, source, is_original=True)
    assert "Stated by torchvision, not measured here" in text
    mine = made(name, said, source, is_original=False)
    assert "not known" in " ".join(mine.split()) and "Stated by" not in mine
    assert all(len(line) <= 100 or "http" in line for line in text.splitlines())
    for part in (source["sha256"], said.url, said.recipe, "BSD 3-Clause", "terms of their own"):
        assert part in text


def test_a_file_given_by_hand(weights: Path, tmp_path: Path) -> None:
    fetched(os.fspath(weights))
    assert "url" not in bundles.load(NAME).source
    assert weights.exists()
    nameless = tmp_path / "mine.pth"
    shutil.copy(weights, nameless)
    with pytest.raises(ModelError, match=r"not with 5c1a4163, as the name mobilenet_v3_large-5c"):
        fetched(os.fspath(nameless), force=True)
    with pytest.raises(ModelError, match="there is no such file"):
        fetched(os.fspath(tmp_path), force=True)
    bundles.load(NAME)


def test_a_part_is_gone_on_with(site: Site, weights: Path, home: Path) -> None:
    work(home).mkdir(parents=True)
    part = work(home) / f"{weights.name}.part"
    part.write_bytes(weights.read_bytes()[:10_000])
    assert not fetched(f"{site.url}/{weights.name}").already  # this server knows no ranges
    assert files_in(home) == BUNDLE_FILES


def test_a_part_of_something_else_is_thrown_away(weights: Path, site: Site, home: Path) -> None:
    """Whole by its note, and yet not what the digest says: it is fetched once more."""
    work(home).mkdir(parents=True)
    (work(home) / weights.name).write_bytes(b"something else")
    fetched(f"{site.url}/{weights.name}")
    assert files_in(home) == BUNDLE_FILES


def test_a_damaged_download_leaves_nothing(site: Site, weights: Path, home: Path) -> None:
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    (site.folder / weights.name).write_bytes(data)
    with pytest.raises(ModelError, match="it is damaged, or another file"):
        fetched(f"{site.url}/{weights.name}")
    assert files_in(home) == set()


class Runs:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, ("touch ran",)


def named_by_digest(file: Path) -> Path:
    import hashlib

    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return file.rename(file.with_name(f"x-{digest[:8]}.pth"))


def test_code_is_never_run(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"fc.weight": Runs()}, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(pickle.dumps({"fc.weight": Runs()}, protocol=2))
    for file in ("a.pth", "b.pth"):
        with pytest.raises(
            ModelError, match=r"something else than plain weights|not readable as weights"
        ):
            fetched(os.fspath(named_by_digest(tmp_path / file)))
    assert not (tmp_path / "ran").exists()
    assert files_in(home) == set()


def test_other_files_are_refused(tmp_path: Path, home: Path) -> None:
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    torch.save({"epoch": 3, "model": {}}, tmp_path / "nested.pth")
    torch.save(random_network("resnet18").state_dict(), tmp_path / "other.pth")
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "page.pth").write_text("<html>sign in to this network</html>")
    (tmp_path / "zip.pth").write_bytes(b"PK\x03\x04" + bytes(100))
    for file, said in (
        ("list.pth", "holds no weights by their names"),
        ("nested.pth", "holds no weights by their names"),
        ("other.pth", f"the file of {NAME} has .*: it is another file"),
        ("empty.pth", "not readable as weights"),
        ("page.pth", r"something else than plain weights|not readable as weights"),
        ("zip.pth", r"something else than plain weights|not readable as weights"),
    ):
        with pytest.raises(ModelError, match=said) as caught:
            fetched(os.fspath(named_by_digest(tmp_path / file)))
        assert "\n" not in str(caught.value)
    assert files_in(home) == set()


def test_what_is_far_too_large_is_neither_read_nor_brought(
    site: Site, tmp_path: Path, home: Path
) -> None:
    holes = site.folder / "holes-01234567.pth"
    with holes.open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(ModelError, match=r"has 931 GiB; .* has 21 MiB: it is another file"):
        fetched(os.fspath(holes))
    said = r"has 1000000000000 bytes, which is larger than what is wanted \(31\.5 MiB at most\)"
    with pytest.raises(ModelError, match=said):
        fetched(f"{site.url}/{holes.name}")
    assert files_in(home) <= {f".fetch/{work(home).name}.lock"}


def test_torch_s_older_format_is_read(tmp_path: Path) -> None:
    file = random_weights(NAME, tmp_path, zipped=False)
    assert set(read_state(file)) == set(random_network(NAME).state_dict())


def test_two_at_once(weights: Path, home: Path) -> None:
    work(home).mkdir(parents=True)
    with (
        lock(work(home)),
        pytest.raises(LockedError, match="another vmm is fetching"),
    ):
        fetched(os.fspath(weights))
    assert not fetched(os.fspath(weights)).already


def test_what_a_killed_one_left_is_cleared_away(weights: Path, home: Path) -> None:
    for left in ("made", "before"):
        (work(home) / left).mkdir(parents=True)
        (work(home) / left / "bundle.yaml").write_text("half")
    assert NAME not in [model.name for model in bundles.list_bundles()]
    fetched(os.fspath(weights))
    assert files_in(home) == BUNDLE_FILES


@pytest.mark.slow
def test_a_killed_one_leaves_nothing_under_the_name(
    weights: Path, home: Path, tmp_path: Path
) -> None:
    """Killed while it converts, as its last step begins."""
    program = (
        "import os, signal, sys\n"
        "from vmm_cli.fetching import fetch\n"
        "fetch._put_in_place = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)\n"
        "fetch.fetch(sys.argv[1], sys.argv[2], on_progress=lambda *at: None)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, NAME, weights], check=False)
    assert killed.returncode == -9
    assert not (home / NAME).exists()
    with pytest.raises(ModelError, match="not on this machine"):
        bundles.find(NAME)
    fetched(os.fspath(weights))
    assert files_in(home) == BUNDLE_FILES


def test_names_are_helped_with(home: Path) -> None:
    for name, said in (
        ("mobilenet_v3_large", "did you mean 'torchvision/mobilenet_v3_large'"),
        ("torchvision/resnet81", "did you mean 'torchvision/resnet18'"),
        ("imagenet", "is on this machine and is not one that can be fetched"),
        ("../x", "no model named"),
    ):
        with pytest.raises(ModelError, match=said):
            fetched(name=name)
    with pytest.raises(ModelError, match=r"fetch it with `vmm models fetch torchvision/s3d`"):
        bundles.load("torchvision/s3d")
    assert not home.exists()


def test_a_model_borrows_a_fetched_encoder(weights: Path, tmp_path: Path) -> None:
    """A trained model need not carry the network's weights; without them it says what to do."""
    fetched(os.fspath(weights))
    fields = yaml.safe_load((bundles.find(NAME) / "bundle.yaml").read_text())
    own = {k: v for k, v in fields.items() if k not in ("schema", "weights", "source")}
    own |= {"name": "own", "labels": ["a", "b"]}
    head = {"head.weight": np.zeros((2, 1280), np.float32), "head.bias": np.zeros(2, np.float32)}
    model = bundles.save(tmp_path / "own", own, head)
    encoder = catalogue.load_image_encoder(model, "cpu")
    assert (encoder.width, encoder.preprocess.resize) == (1280, "antialias")
    shutil.rmtree(bundles.find(NAME))
    with pytest.raises(ModelError, match=f"vmm models fetch {NAME}"):
        catalogue.load_image_encoder(model, "cpu")


# --- detectors and networks for masks -----------------------------------------------------------

LRASPP = "torchvision/lraspp_mobilenet_v3_large"


def test_a_network_for_masks_is_a_bundle(tmp_path: Path, home: Path) -> None:
    file = random_weights(LRASPP, tmp_path)
    done = fetched(os.fspath(file), name=LRASPP)
    assert not done.already and not done.is_original
    model = bundles.load(LRASPP)
    assert (model.task, model.network["kind"], len(model.labels)) == ("masks", LRASPP, 21)
    assert model.source["file"] == file.name and "not known" in model.licence["weights"]
    assert fetched(name=LRASPP).already
    state = random_network(LRASPP).state_dict()
    tensors = bundles.load_tensors(model)
    assert tensors.keys() == {key for key in state if not key.endswith("num_batches_tracked")}
    assert all(np.array_equal(tensors[key], state[key].numpy()) for key in tensors)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"classifier.low_classifier.bias": None}, "1 of its .* tensors are missing"),
        ({"classifier.low_classifier.bias": torch.zeros(2)}, "have another shape"),
        ({"more": torch.zeros(2)}, "1 are not its own"),
    ],
)
def test_other_tensors_of_a_network_for_masks_are_refused(
    tmp_path: Path, home: Path, wrong: dict[str, torch.Tensor | None], said: str
) -> None:
    changed = {**random_network(LRASPP).state_dict(), **wrong}
    state = {key: value for key, value in changed.items() if value is not None}
    torch.save(state, tmp_path / "wrong.pth")
    file = named_by_digest(tmp_path / "wrong.pth")
    with pytest.raises(ModelError, match=f"{file.name}: is not {LRASPP}: .*{said}") as caught:
        fetched(os.fspath(file), name=LRASPP)
    assert "\n" not in str(caught.value)
    assert files_in(home) <= {f".fetch/{LRASPP.replace('/', '-')}.lock"}


def test_code_is_never_run_for_masks(tmp_path: Path, home: Path) -> None:
    torch.save({"classifier.low_classifier.bias": Runs()}, tmp_path / "a.pth")
    with pytest.raises(ModelError, match="something else than plain weights"):
        fetched(os.fspath(named_by_digest(tmp_path / "a.pth")), name=LRASPP)
