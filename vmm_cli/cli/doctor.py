"""`vmm doctor`: what this installation consists of, and what is wrong with it.

Every part is looked at on its own: one that cannot be imported is a problem in the report, not the
end of it.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

import vmm_cli
from vmm_cli import errors
from vmm_cli.cli import configuration, console
from vmm_cli.cli.options import (
    COMMAND_LINE_ONLY,
    SHARED_NAMES,
    DocumentFormat,
    Verbose,
    wants_table,
)
from vmm_cli.suggest import did_you_mean

SCHEMA = "vmm.doctor/1"

# Variables that are no option's
OTHER_VARIABLES = frozenset(
    {
        *("VMM_CACHE_DIR", "VMM_CACHE_LIMIT_GB", "VMM_ENGINE", "VMM_MODELS", "VMM_MODELS_URL"),
        *("VMM_CONFIG", "VMM_DATA"),
    }
)
PACKAGES = (
    *("numpy", "onnxruntime", "pillow", "platformdirs", "pyyaml", "rich", "safetensors", "typer"),
)

# By extra: what it is for, and the module whose `check_packages` loads what it brings.
EXTRAS = {
    "openvino": ("exports for OpenVINO", "vmm_cli.exports.openvino_model"),
    "sentences": ("what sentences mean, by MiniLM", "vmm_cli.features.sentences"),
    "speech": ("what is said (`vmm transcribe`), by Whisper", "vmm_cli.features.transcript"),
}

_PACKAGE = re.compile(r"[A-Za-z0-9._-]+")

Report = dict[str, Any]
Complain = Callable[[str, str], None]


def doctor(
    context: typer.Context,
    format: DocumentFormat = None,
    verbose: Verbose = 0,
) -> int:
    """Check the installation and this machine.

    Shows what is installed, what this machine offers, and what is wrong. The exit code is 1 if
    something is wrong.
    """
    problems: list[dict[str, str]] = []
    report: Report = {"schema": SCHEMA}
    sections: tuple[tuple[str, Callable[[Complain], Any]], ...] = (
        ("versions", versions),
        ("extras", extras),
        ("devices", devices),
        ("codecs", codecs),
        ("paths", lambda complain: paths(context.find_root().command, complain)),
        ("models", bundles),
    )
    for name, look in sections:

        def complain(what: str, cure: str, where: str = name) -> None:
            problems.append({"where": where, "problem": what, "do": cure})

        try:
            report[name] = look(complain)
        except Exception as error:  # a broken part must not hide the others
            complain(f"{type(error).__name__}: {error}", "install vmm-cli again")
            console.details(console.traceback_of(error))
            report[name] = None
    check_variables(context.find_root().command, problems)
    report["problems"] = problems
    if wants_table(format):
        from vmm_cli.cli.doctor_table import draw

        draw(console.stdout(data=False), report)
    else:
        from vmm_cli.output.json_document import write_document

        write_document(console.stdout(data=True), report)
    return 1 if problems else 0


def versions(complain: Complain) -> dict[str, str | None]:
    """Return the versions of vmm, Python, the packages it needs and the libav libraries."""
    found: dict[str, str | None] = {
        "vmm": vmm_cli.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    found["torch"] = _imported("torch", complain, lambda: __import__("torch").__version__)
    found["torchvision"] = _imported("torchvision", complain, _torchvision_version)
    found["av"] = None
    libraries = _imported("av", complain, _libav_versions)
    found |= libraries or {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
            complain(f"{package} is not installed", f"pip install {package}")
    return found


def _imported(package: str, complain: Complain, look: Callable[[], Any]) -> Any:
    try:
        return look()
    except Exception as error:  # a broken binary raises OSError, RuntimeError, anything
        complain(
            f"{package} cannot be imported: {type(error).__name__}: {error}",
            f"pip install --force-reinstall {package}",
        )
        console.details(console.traceback_of(error))
        return None


def _torchvision_version() -> str:
    from vmm_cli import compat

    compat.ensure_torchvision()
    import torchvision

    return str(torchvision.__version__)


def _libav_versions() -> dict[str, str]:
    from vmm_cli.media.codecs import library_versions

    return library_versions()


def extras(complain: Complain) -> list[dict[str, Any]]:
    """Return each extra: installed, absent or damaged, with its packages and how to install it."""
    from vmm_cli.features.extras import NotInstalledError

    found = []
    for name, (purpose, module) in EXTRAS.items():
        packages = _packages_of(name)
        state = "installed"
        try:
            importlib.import_module(module).check_packages()
        except NotInstalledError as error:
            state = "absent"
            if packages and all(packages.values()):  # but for one that they need themselves
                state = "damaged"
                complain(str(error), _install(name, "--force-reinstall"))
        except Exception as error:  # one that is not whole raises anything
            state = "damaged"
            complain(str(error), _install(name, "--force-reinstall"))
        found.append(
            {
                "name": name,
                "purpose": purpose,
                "state": state,
                "packages": packages,
                "install": _install(name),
            }
        )
    return found


def _install(extra: str, option: str = "") -> str:
    return " ".join(filter(None, ("pip install", option, f"'vmm-cli[{extra}]'")))


def _packages_of(extra: str) -> dict[str, str | None]:
    """Return the versions of an extra's packages; None for those that are not installed."""
    try:
        required = importlib.metadata.requires("vmm-cli") or []
    except importlib.metadata.PackageNotFoundError:  # run from a folder, not installed
        return {}
    packages: dict[str, str | None] = {}
    for requirement in required:
        needed, _, marker = requirement.partition(";")
        name = _PACKAGE.match(needed)
        if name is None or not re.search(rf"""extra\s*==\s*['"]{extra}['"]""", marker):
            continue
        try:
            packages[name[0]] = importlib.metadata.version(name[0])
        except importlib.metadata.PackageNotFoundError:
            packages[name[0]] = None
    return packages


def devices(complain: Complain) -> dict[str, Any]:
    """Return what can compute: cores this process may use, the CPU's bf16 units, CUDA devices."""
    found: dict[str, Any] = {
        "cpu_cores": len(os.sched_getaffinity(0)),
        "cpu_bf16": _bf16_units(),
        "cuda": [],
    }
    try:
        import torch
    except Exception:
        return found  # `versions` says so
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            found["cuda"].append(
                {
                    "device": f"cuda:{index}",
                    "name": properties.name,
                    "memory_bytes": properties.total_memory,
                }
            )
    elif torch.version.cuda is None and Path("/proc/driver/nvidia/version").exists():
        complain(
            "there is an NVIDIA GPU, but this torch is built for the CPU alone",
            "install the CUDA build of torch, or leave it: everything runs on the CPU",
        )
    elif torch.version.cuda is not None and Path("/dev/nvidia0").exists():
        complain(
            "there is an NVIDIA GPU, but torch cannot use it",
            "compare the driver (nvidia-smi) with the CUDA version of torch",
        )
    return found


def _bf16_units() -> list[str]:
    """Return the CPU's units for bf16 arithmetic; without one bf16 gains nothing."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:  # no Linux
        return []
    return [unit for unit in ("amx_bf16", "avx512_bf16") if unit in flags]


def codecs(complain: Complain) -> dict[str, dict[str, bool]] | None:
    """Return which decoders and encoders libav has."""
    try:
        from vmm_cli.media import codecs as known
    except Exception:
        return None  # `versions` says so
    found = {"decoders": known.decoders(), "encoders": known.encoders()}
    for kind, names in found.items():
        for name, there in names.items():
            if not there:
                complain(
                    f"libav has no {kind[:-1]} {name!r}",
                    "pip install --force-reinstall --no-cache av",
                )
    return found


def paths(root: Any, complain: Complain) -> list[dict[str, Any]]:
    """Return the folders and files of the user that vmm reads and writes."""
    import platformdirs

    from vmm_cli.features import store

    config = Path(os.environ.get("VMM_CONFIG") or configuration.user_file())
    cache = store.folder()
    data = Path(platformdirs.user_data_dir("vmm")) / "models"
    if config.exists():
        commands = configuration.options_of_commands(root, COMMAND_LINE_ONLY)
        try:
            configuration.check(configuration.read(config), config, commands, SHARED_NAMES)
        except errors.UsageError as error:
            complain(str(error), "correct the file or remove it")
    found = [
        _place("configuration", config),
        _place("feature store", cache),
        _place("models of the user", data),
    ]
    for folder in filter(None, os.environ.get("VMM_MODELS", "").split(os.pathsep)):
        found.append(_place("models of VMM_MODELS", Path(folder)))
        if not Path(folder).is_dir():
            complain(f"VMM_MODELS names {folder}, which is no folder", "correct the variable")
    try:
        store.limit_bytes()
    except errors.UsageError as error:
        complain(str(error), "correct the variable")
    _check_store(cache, complain)
    return found


def _place(what: str, path: Path) -> dict[str, Any]:
    place: dict[str, Any] = {"what": what, "path": str(path), "mode": None, "size_bytes": None}
    try:
        status = path.stat()
    except OSError:
        return place
    place["mode"] = f"{stat.S_IMODE(status.st_mode):04o}"
    place["size_bytes"] = sum(_sizes(path)) if path.is_dir() else status.st_size
    return place


def _sizes(folder: Path) -> Iterator[int]:
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                yield (Path(parent) / name).lstat().st_size
            except OSError:  # removed meanwhile
                continue


def _check_store(folder: Path, complain: Complain) -> None:
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not os.access(existing, os.W_OK | os.X_OK):
        complain(
            f"the feature store {folder} cannot be written",
            "set VMM_CACHE_DIR to a folder of yours, or use --no-store",
        )
    elif existing == folder and stat.S_IMODE(folder.stat().st_mode) & 0o077:
        complain(f"other users may look into the feature store {folder}", f"chmod 700 {folder}")


def bundles(complain: Complain) -> list[dict[str, Any]]:
    """Return every model that is found, each verified against its digests."""
    from vmm_cli import bundles

    found: list[dict[str, Any]] = []
    shipped = bundles.packaged_models()
    for model in bundles.list_bundles():
        problem = model.problem if isinstance(model, bundles.BrokenBundle) else None
        if not isinstance(model, bundles.BrokenBundle):
            try:
                bundles.verify(model)
            except errors.ModelError as error:
                problem = str(error)
        if problem is not None:
            ours = model.folder.parent == shipped
            complain(problem, "install vmm-cli again" if ours else _cure(model.folder))
        found.append(
            {
                "name": model.name,
                "version": getattr(model, "version", None),
                "path": str(model.folder),
                "verified": problem is None,
                "demonstration": getattr(model, "demonstration", "") or None,
            }
        )
    if not any(model["path"].startswith(str(shipped)) for model in found):
        complain(f"the models that come with vmm are not in {shipped}", "install vmm-cli again")
    return found


def _cure(folder: Path) -> str:
    return f"see that you may read it, fetch or train it again, or remove {folder}"


def check_variables(root: Any, problems: list[dict[str, str]]) -> None:
    """Add a problem for each VMM_* variable that nothing reads: likely a typo."""
    known = set(OTHER_VARIABLES) | set(_variables(root))
    problems.extend(
        {
            "where": "environment",
            "problem": f"nothing reads the variable {name}{did_you_mean(name, known)}",
            "do": "correct or unset it",
        }
        for name in sorted(os.environ)
        if name.startswith("VMM_") and name not in known
    )


def _variables(command: Any) -> Iterator[str]:
    for parameter in command.params:
        names = parameter.envvar or ()
        yield from ([names] if isinstance(names, str) else names)
    for inner in getattr(command, "commands", {}).values():
        yield from _variables(inner)
