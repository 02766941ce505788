"""Download one file over HTTP: with resuming, and nothing under its name before it is whole.

What has come lies in FILE.part, with what the server said of it in FILE.part.json, so that a later
call goes on where an earlier one broke off, unless the file has changed meanwhile. Standard library
only.
"""

from __future__ import annotations

import errno
import http.client
import json
import os
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import vmm_cli
from vmm_cli.errors import ModelError, OutputError

TIMEOUT_S = 30.0  # to connect, and between two pieces of the answer
# Waits before trying again when a download breaks off; the count begins anew with each byte won.
RETRY_PAUSES_S = (1.0, 2.0, 4.0, 8.0)
CHUNK_BYTES = 256 * 1024
MAX_BYTES = 8 * 2**30
# A server may say once that what is here is of no use; more often it contradicts itself.
MAX_RESTARTS = 2
# Answers that a later try may change: a timeout, too many requests, trouble of the server's own.
PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})

Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all where that is known

_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


class _BrokenOffError(Exception):
    """The transfer ended early; trying again goes on where it did."""


class _StaleError(Exception):
    """What is here is no beginning of what the server has now."""


@dataclass(frozen=True)
class _Said:
    """What a server says of a file, to recognise it by: entity tag, modification time, bytes."""

    etag: str | None = None
    last_modified: str | None = None
    size: int | None = None


def download(url: str, target: Path, *, on_progress: Progress) -> None:
    """Fetch `url` (http or https) to `target`, whose folder must exist, and flush it to disk.

    Raises:
        ModelError: the server cannot be reached, does not have the file, or breaks off again and
            again; what came so far is kept.
        OutputError: the disk is full or cannot be written.
    """
    check_url(url)
    part = _part(target)
    failures = restarts = 0
    answered = False  # where nothing has come yet, waiting for a network helps nobody
    while True:
        before = _size(part)
        try:
            _transfer(url, part, on_progress, patient=answered)
            break
        except _StaleError:
            restarts += 1
            discard(target)
            if restarts > MAX_RESTARTS:
                raise ModelError(f"{url}: the server gives another file each time") from None
        except _BrokenOffError as error:
            failures = 0 if _size(part) > before else failures + 1
            if failures >= len(RETRY_PAUSES_S):
                raise ModelError(
                    f"{url}: broke off after {_size(part) / 1e6:.1f} MB: {error}; the same command "
                    "goes on from there"
                ) from None
            time.sleep(RETRY_PAUSES_S[failures])
        answered = True
    with _as_output_error(target):
        part.replace(target)
        _note(target).unlink(missing_ok=True)


def has_begun(target: Path) -> bool:
    """Tell whether an earlier call brought `target`, or a part of it."""
    return target.exists() or _part(target).exists()


def discard(target: Path) -> None:
    """Remove what an earlier download of `target` left behind."""
    with _as_output_error(target):
        _part(target).unlink(missing_ok=True)
        _note(target).unlink(missing_ok=True)


def check_url(url: str) -> None:
    """Raise ModelError where `url` is not one of http or https that names a server."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:  # such as an unclosed bracket around an IPv6 address
        valid = False
    if not valid or not url.isascii() or re.search(r"[\x00-\x20\x7f]", url):
        raise ModelError(f"{url!r} is no http or https address")


def _transfer(url: str, part: Path, on_progress: Progress, *, patient: bool) -> None:
    """Bring the rest of a file. _BrokenOffError, _StaleError, ModelError or OutputError else.

    patient: take a server that cannot be reached for one that is there again soon.
    """
    have = _size(part)
    said = _read_note(part) if have else _Said()
    if have and have == said.size:
        return  # only its name was not set yet
    headers = {"User-Agent": f"vmm-cli/{vmm_cli.__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        known = said.etag if said.etag and not said.etag.startswith("W/") else said.last_modified
        if known:
            headers["If-Range"] = known
    try:
        with _answer(urllib.request.Request(url, headers=headers), patient) as answer:
            begin, total = _stretch(answer, have, said)
            if total is not None and total > MAX_BYTES:
                raise ModelError(f"{url}: is larger than {MAX_BYTES // 2**30} GiB")
            with _as_output_error(part):
                _write_note(part, _said(answer.headers, total))
            _write(answer, part, begin, total, on_progress)
    except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        raise _BrokenOffError(str(error) or type(error).__name__) from error


def _answer(request: urllib.request.Request, patient: bool) -> Any:
    """Return the server's answer to read from."""
    try:
        return _opener().open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(request.full_url, error) from None
    except urllib.error.URLError as error:
        if patient:
            raise _BrokenOffError(_unreachable(error.reason)) from error
        raise ModelError(f"{request.full_url}: {_unreachable(error.reason)}") from None


def _refusal(url: str, error: urllib.error.HTTPError) -> Exception:
    if error.code == 416:  # the file is shorter than what is here
        return _StaleError()
    if error.code in PASSING_STATUS:
        return _BrokenOffError(f"the server answers {error.code} {error.reason}")
    return ModelError(f"{url}: the server answers {error.code} {error.reason}")


def _unreachable(reason: object) -> str:
    if isinstance(reason, socket.gaierror):
        return "the name of the server is not found; is this machine offline?"
    if isinstance(reason, TimeoutError):
        return f"the server does not answer within {TIMEOUT_S:.0f} s"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted: {reason.verify_message}"
    if isinstance(reason, OSError) and reason.strerror:
        return f"the server cannot be reached: {reason.strerror}"
    return f"the server cannot be reached: {reason}"


def _stretch(answer: Any, have: int, said: _Said) -> tuple[int, int | None]:
    """Return where in the file the answer begins, and how many bytes the file has in all."""
    length = answer.headers.get("Content-Length", "")
    if answer.status != 206:  # all of it: no ranges here, or another file than before
        return 0, int(length) if length.isdigit() else None
    span = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if span is None or span[1] is None or int(span[1]) != have:
        raise _StaleError
    total = int(span[3]) if span[3].isdigit() else None
    now = _said(answer.headers, total)
    for before, after in zip(asdict(said).values(), asdict(now).values(), strict=True):
        if before is not None and after is not None and before != after:
            raise _StaleError
    return have, total


def _write(answer: Any, part: Path, begin: int, total: int | None, on_progress: Progress) -> None:
    """Append what comes, to a file that is `begin` bytes long; flush it to disk at the end."""
    done = begin
    with _as_output_error(part), part.open("ab" if begin else "wb", buffering=0) as file:
        while total is None or done < total:
            on_progress(done, total)
            piece = _read(answer)
            if not piece:
                break
            done += len(piece)
            if done > (MAX_BYTES if total is None else total):
                raise _StaleError
            _write_all(file, piece)
        os.fsync(file.fileno())
    on_progress(done, total)
    if total is not None and done < total:
        raise _BrokenOffError(f"{done} of {total} bytes came")


def _read(answer: Any) -> bytes:
    try:
        piece: bytes = answer.read1(CHUNK_BYTES)  # what has come, not more
    except OSError as error:  # of the connection; those of the disk are told apart by this
        raise _BrokenOffError(str(error) or type(error).__name__) from error
    return piece


def _write_all(file: IO[bytes], piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[file.write(rest) :]


class _SameOrSafer(urllib.request.HTTPRedirectHandler):
    """Follows redirections, but from https to https only."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Return the request for the new address. ModelError where it is less safe."""
        scheme = urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (req.type == "https" and scheme != "https"):
            raise ModelError(f"{req.full_url}: sends us on to {newurl!r}, which is not safe")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Return what speaks HTTP and nothing else: neither ftp nor local files."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),  # as the environment says
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        _SameOrSafer(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _note(target: Path) -> Path:
    return target.with_name(target.name + ".part.json")


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def _said(headers: http.client.HTTPMessage, size: int | None) -> _Said:
    return _Said(headers.get("ETag"), headers.get("Last-Modified"), size)


def _read_note(part: Path) -> _Said:
    try:
        fields = json.loads(part.with_name(part.name + ".json").read_text(encoding="utf-8"))
        return _Said(fields["etag"], fields["last_modified"], fields["size"])
    except (OSError, ValueError, KeyError, TypeError):
        return _Said()  # the digest in the end says whether the pieces belong together


def _write_note(part: Path, said: _Said) -> None:
    note = part.with_name(part.name + ".json")
    note.write_text(json.dumps(asdict(said)), encoding="utf-8")


@contextmanager
def _as_output_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
        raise OutputError(f"{path}: cannot be written: {why}") from error
