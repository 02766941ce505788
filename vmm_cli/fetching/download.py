"""Download one file over HTTP: with resuming, and nothing under its name before it is whole.

What has come lies in FILE.part, with what the server said of it in FILE.part.json, so that a later
call goes on where an earlier one broke off, unless the file has changed meanwhile. A server is
given so much time without progress and so many bytes, whatever it says. Standard library only.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import string
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urljoin, urlsplit

import vmm_cli
from vmm_cli.durable import sync_file
from vmm_cli.errors import ModelError
from vmm_cli.fetching.timed_http import Clock, Patience, TooSlowError, opener
from vmm_cli.files import as_output_error
from vmm_cli.plain_file import size_text

TIMEOUT_S = 30.0  # to connect, until an answer has begun, and between two pieces of it
# Waits before trying again when a download breaks off; the count begins anew with each byte won.
RETRY_PAUSES_S = (1.0, 2.0, 4.0, 8.0)
CHUNK_BYTES = 256 * 1024
MAX_BYTES = 2 * 2**30
# A server may say once that what is here is of no use; more often it contradicts itself.
MAX_RESTARTS = 2
MAX_REDIRECTIONS = 5
GOES_ON = "the same command goes on from there"
# Answers that a later try may change: a timeout, too many requests, trouble of the server's own.
PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})

Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all where that is known

_NUMBER = r"[0-9]{1,18}"
_LENGTH = re.compile(_NUMBER)
_CONTENT_RANGE = re.compile(rf"bytes (?:({_NUMBER})-({_NUMBER})|\*)/({_NUMBER}|\*)")
# What a server may call a file, that it can be asked with again.
_TAG_OR_TIME = re.compile(r"[\x20-\x7e]{1,200}")
_REDIRECTIONS = frozenset({301, 302, 303, 307, 308})


class _BrokenOffError(Exception):
    """The transfer ended early; trying again goes on where it did."""


class _StaleError(Exception):
    """What is here is no beginning of what the server has now."""


class _TooLargeError(Exception):
    """The server has, or sends, more than is wanted."""


@dataclass(frozen=True)
class _Answered:
    """What a server says of a file, to recognise it by: entity tag, modification time, bytes."""

    etag: str | None = None
    last_modified: str | None = None
    size: int | None = None


def download(
    url: str,
    target: Path,
    *,
    on_progress: Progress,
    max_bytes: int | None = None,
    patience: Patience | None = None,
) -> None:
    """Fetch `url` (http or https) to `target`, whose folder must exist, and flush it to disk.

    max_bytes: more is not taken; None: 2 GiB.

    Raises:
        ModelError: the server cannot be reached, does not have the file, breaks off again and
            again or hardly sends anything; what came so far is kept. Or it has more than
            `max_bytes`; that is not kept.
        OutputError: the disk is full or cannot be written.
    """
    check_url(url)
    limit = MAX_BYTES if max_bytes is None else max_bytes
    clock = Clock(patience or Patience(TIMEOUT_S))
    part = _part(target)
    failures = restarts = 0
    answered = False  # where nothing has come yet, waiting for a network helps nobody
    while True:
        before = _size(part)
        try:
            _transfer(_Wanted(url, part, limit, answered), clock, on_progress)
            break
        except _StaleError:
            restarts += 1
            discard(target)
            if restarts > MAX_RESTARTS:
                raise ModelError(f"{url}: the server gives another file each time") from None
        except _TooLargeError as error:
            discard(target)
            raise ModelError(f"{url}: {error}") from None
        except TooSlowError as error:
            raise ModelError(f"{url}: {_given_up(part, error)}") from None
        except _BrokenOffError as error:
            failures = 0 if _size(part) > before else failures + 1
            if failures >= len(RETRY_PAUSES_S):
                raise ModelError(f"{url}: {_given_up(part, error)}") from None
            time.sleep(RETRY_PAUSES_S[failures])
        answered = True
    with as_output_error(target):
        part.replace(target)
        _note(target).unlink(missing_ok=True)


def _given_up(part: Path, error: Exception) -> str:
    if not _size(part):
        return f"{error}; nothing came, try again later"
    return f"broke off after {_size(part) / 1e6:.1f} MB: {error}; {GOES_ON}"


def has_begun(target: Path) -> bool:
    """Tell whether an earlier call brought `target`, or a part of it."""
    return target.exists() or _part(target).exists()


def discard(target: Path) -> None:
    """Remove what an earlier download of `target` left behind."""
    with as_output_error(target):
        _part(target).unlink(missing_ok=True)
        _note(target).unlink(missing_ok=True)


def check_url(url: str) -> None:
    """Raise ModelError where `url` is not one of http or https that names a server."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # such as an unclosed bracket around an IPv6 address, a port of 99999
        valid = False
    if not valid or not url.isascii() or re.search(r"[\x00-\x20\x7f]", url):
        raise ModelError(f"{url!r} is no http or https address")


@dataclass(frozen=True)
class _Wanted:
    """What is to be brought, and where to.

    Attributes:
        limit: bytes; more is not taken.
        answered: the server was there already: if it cannot be reached it may be there again soon.
    """

    url: str
    part: Path
    limit: int
    answered: bool


def _transfer(wanted: _Wanted, clock: Clock, on_progress: Progress) -> None:
    """Bring the rest of a file; one of the errors above, ModelError or OutputError else."""
    have = _size(wanted.part)
    said = _read_note(wanted.part) if have else _Answered()
    if have and have == said.size:
        return  # only its name was not set yet
    headers = {"User-Agent": f"vmm-cli/{vmm_cli.__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        known = said.etag if said.etag and not said.etag.startswith("W/") else said.last_modified
        if known:
            headers["If-Range"] = known
    try:
        with _answer(wanted, headers, clock) as answer:
            begin, total = _stretch(wanted.url, answer, have, said)
            if total is not None and total > wanted.limit:
                raise _TooLargeError(_too_large(f"has {total} bytes", wanted.limit))
            with as_output_error(wanted.part):
                _write_note(wanted.part, _said(answer.headers, total))
            clock.begin_body()
            _write(answer, wanted, begin, total, clock, on_progress)
    except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        raise _BrokenOffError(_one_line(error)) from error


def _too_large(what: str, limit: int) -> str:
    return f"{what}, which is larger than what is wanted ({size_text(limit)} at most)"


def _one_line(error: Exception) -> str:
    if type(error) is http.client.BadStatusLine:  # whatever was sent in place of HTTP
        return "what the server sends is no HTTP"
    return " ".join(str(error).split())[:200] or type(error).__name__


def _answer(wanted: _Wanted, headers: Mapping[str, str], clock: Clock) -> Any:
    """Return the answer to read from, of the server or of one that it sends us on to."""
    url = wanted.url
    for _ in range(MAX_REDIRECTIONS + 1):
        clock.begin_answer()
        answer = _opened(urllib.request.Request(url, headers=dict(headers)), wanted, clock)
        if answer.status in (200, 206):
            return answer
        with answer:  # its body is nothing to us, however long
            if answer.status not in _REDIRECTIONS:
                raise _refusal(url, answer.status, answer.reason)
            url = _sent_on(url, answer.headers.get("Location", ""))
    raise ModelError(f"{wanted.url}: more than {MAX_REDIRECTIONS} redirections: a loop?")


def _opened(request: urllib.request.Request, wanted: _Wanted, clock: Clock) -> Any:
    url = request.full_url
    try:
        return opener(clock).open(request, timeout=clock.left())
    except urllib.error.URLError as error:
        if wanted.answered:
            raise _BrokenOffError(_unreachable(error.reason, clock.patience)) from error
        raise ModelError(f"{url}: {_unreachable(error.reason, clock.patience)}") from None
    except TimeoutError as error:
        said = f"the server does not answer: timed out after {clock.patience.silent_s:g} s"
        if wanted.answered:
            raise _BrokenOffError(said) from error
        raise ModelError(f"{url}: {said}") from None
    except ValueError as error:  # a name of a server that none can have
        raise ModelError(f"{url}: cannot be asked: {_one_line(error)}") from None


def _sent_on(url: str, location: str) -> str:
    """Return the address that a server sends us on to. ModelError where it is less safe."""
    shown = repr(location[:200])
    try:
        there = urljoin(url, quote(location, encoding="iso-8859-1", safe=string.punctuation))
        check_url(there)
    except (ModelError, ValueError):
        raise ModelError(
            f"{url}: a redirection to {shown}, which is not safe: no http or https address"
        ) from None
    if not location or (url.startswith("https:") and not there.startswith("https:")):
        raise ModelError(f"{url}: a redirection to {shown}, which is not safe")
    return there


def _refusal(url: str, status: int, reason: str) -> Exception:
    if status == 416:  # the file is shorter than what is here
        return _StaleError()
    said = f"the server answers {status} {reason[:100]}".rstrip()
    return _BrokenOffError(said) if status in PASSING_STATUS else ModelError(f"{url}: {said}")


def _unreachable(reason: object, patience: Patience) -> str:
    if isinstance(reason, socket.gaierror):
        return "the name of the server is not found; is this machine offline?"
    if isinstance(reason, TimeoutError):
        return f"the server does not answer: timed out after {patience.silent_s:g} s"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted: {reason.verify_message}"
    if isinstance(reason, OSError) and reason.strerror:
        return f"the server cannot be reached: {reason.strerror}"
    return f"the server cannot be reached: {reason}"


def _stretch(url: str, answer: Any, have: int, said: _Answered) -> tuple[int, int | None]:
    """Return where in the file the answer begins, and how many bytes the file has in all."""
    length = answer.headers.get("Content-Length")
    if length is not None and not _LENGTH.fullmatch(length.strip()):
        raise ModelError(f"{url}: the server gives {length[:60]!r} as the length of the file")
    if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ModelError(f"{url}: the server sends the file compressed, which was not asked for")
    if answer.status != 206:  # all of it: no ranges here, or another file than before
        return 0, None if length is None else int(length)
    span = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if span is None or span[1] is None or int(span[1]) != have:
        raise _StaleError
    total = int(span[3]) if span[3] != "*" else None
    now = _said(answer.headers, total)
    for before, after in zip(asdict(said).values(), asdict(now).values(), strict=True):
        if before is not None and after is not None and before != after:
            raise _StaleError
    return have, total


def _write(
    answer: Any,
    wanted: _Wanted,
    begin: int,
    total: int | None,
    clock: Clock,
    on_progress: Progress,
) -> None:
    """Append what comes, to a file that is `begin` bytes long; flush it to disk at the end."""
    done, part = begin, wanted.part
    with as_output_error(part), part.open("ab" if begin else "wb", buffering=0) as file:
        while total is None or done < total:
            on_progress(done, total)
            piece = _read(answer)
            if not piece:
                break
            done += len(piece)
            if total is not None and done > total:
                raise _StaleError
            if done > wanted.limit:
                raise _TooLargeError(_too_large("sends more and more", wanted.limit))
            _write_all(file, piece)
            clock.came(len(piece))
        sync_file(file.fileno())
    on_progress(done, total)
    if total is not None and done < total:
        raise _BrokenOffError(f"{done} of {total} bytes came")


def _read(answer: Any) -> bytes:
    try:
        piece: bytes = answer.read1(CHUNK_BYTES)  # what has come, not more
    except OSError as error:  # of the connection; those of the disk are told apart by this
        raise _BrokenOffError(_one_line(error)) from error
    return piece


def _write_all(file: IO[bytes], piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[file.write(rest) :]


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _note(target: Path) -> Path:
    return target.with_name(target.name + ".part.json")


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def _said(headers: http.client.HTTPMessage, size: int | None) -> _Answered:
    return _Answered(_known(headers.get("ETag")), _known(headers.get("Last-Modified")), size)


def _known(text: object) -> str | None:
    """Return what a file is recognised by, where it is of a kind that can be asked with."""
    return text if isinstance(text, str) and _TAG_OR_TIME.fullmatch(text) else None


def _read_note(part: Path) -> _Answered:
    try:
        fields = json.loads(part.with_name(part.name + ".json").read_text(encoding="utf-8"))
        size = fields["size"] if isinstance(fields["size"], int) else None
        return _Answered(_known(fields["etag"]), _known(fields["last_modified"]), size)
    except (OSError, ValueError, KeyError, TypeError):
        return _Answered()  # the digest in the end says whether the pieces belong together


def _write_note(part: Path, said: _Answered) -> None:
    note = part.with_name(part.name + ".json")
    note.write_text(json.dumps(asdict(said)), encoding="utf-8")
