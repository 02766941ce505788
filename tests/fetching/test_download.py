"""Downloads over HTTP from a real server that does what servers and networks do."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.file_server import Server, serving
from vmm_cli.errors import ModelError, OutputError
from vmm_cli.fetching import download

DATA = os.urandom(1_000_003)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(DATA, "file.bin") as served:
        yield served


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "RETRY_PAUSES_S", (0.0, 0.0, 0.0))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def fetched(server: Server, target: Path) -> bytes:
    download.download(server.url, target, on_progress=lambda done, total: None)
    assert sorted(path.name for path in target.parent.iterdir()) == [target.name]
    return target.read_bytes()


def leave(target: Path, part: bytes, **said: object) -> None:
    """As an earlier call left it."""
    target.with_name(f"{target.name}.part").write_bytes(part)
    note = {"etag": None, "last_modified": None, "size": None} | said
    target.with_name(f"{target.name}.part.json").write_text(json.dumps(note))


def test_a_file_comes_whole_and_tells_how_far_it_is(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    target = tmp_path / "file.bin"
    download.download(server.url, target, on_progress=lambda *at: seen.append(at))
    assert target.read_bytes() == DATA
    assert seen[0] == (0, len(DATA))
    assert seen[-1] == (len(DATA), len(DATA))
    assert seen == sorted(seen)
    assert server.asked[0]["User-Agent"].startswith("vmm-cli/")


def test_what_breaks_off_goes_on(server: Server, tmp_path: Path) -> None:
    server.breaks_after = [300_000, 1, 200_000, 7]
    assert fetched(server, tmp_path / "file.bin") == DATA
    ranges = [asked.get("Range") for asked in server.asked]
    assert ranges == [None, "bytes=300000-", "bytes=300001-", "bytes=500001-", "bytes=500008-"]
    assert {asked.get("If-Range") for asked in server.asked[1:]} == {'"one"'}


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    server.breaks_after = [400_000, 0, 0, 0]
    with pytest.raises(ModelError, match=r"broke off after 0\.4 MB: .* goes on from there"):
        download.download(server.url, target, on_progress=lambda *at: None)
    assert not target.exists()
    assert download.has_begun(target)
    server.asked.clear()
    assert fetched(server, target) == DATA
    assert server.asked[0]["Range"] == "bytes=400000-"


@pytest.mark.parametrize("said", [{"etag": '"one"'}, {"last_modified": "yesterday"}, {}])
def test_a_part_is_used_while_the_file_is_the_same(
    server: Server, tmp_path: Path, said: dict[str, str]
) -> None:
    server.etag, server.last_modified = said.get("etag"), said.get("last_modified")
    leave(tmp_path / "file.bin", DATA[:600_000], **said)
    assert fetched(server, tmp_path / "file.bin") == DATA
    assert [asked["Range"] for asked in server.asked] == ["bytes=600000-"]
    assert server.asked[0].get("If-Range") == (said.get("etag") or said.get("last_modified"))


@pytest.mark.parametrize(
    "now",
    [
        {"ranges": False},
        {"etag": '"two"'},
        {"etag": None, "last_modified": "today"},
        {"data": DATA[:5000]},
        {"moves_range_by": 5},
        {"data": DATA + b"more", "etag": None},
    ],
    ids=["no ranges", "entity tag", "time", "shorter", "another stretch", "longer"],
)
def test_a_part_of_another_file_is_not_used(
    server: Server, tmp_path: Path, now: dict[str, object]
) -> None:
    leave(tmp_path / "file.bin", os.urandom(600_000), etag='"one"', size=len(DATA))
    if "last_modified" in now:
        leave(tmp_path / "file.bin", bytes(600_000), last_modified="yesterday")
    for name, value in now.items():
        setattr(server, name, value)
    assert fetched(server, tmp_path / "file.bin") == server.data


def test_a_weak_tag_is_compared_though_it_cannot_be_asked_with(
    server: Server, tmp_path: Path
) -> None:
    server.etag = 'W/"two"'
    leave(tmp_path / "file.bin", bytes(600_000), etag='W/"one"')
    assert fetched(server, tmp_path / "file.bin") == DATA
    assert "If-Range" not in server.asked[0]


def test_a_whole_part_needs_no_server(tmp_path: Path) -> None:
    leave(tmp_path / "file.bin", DATA, size=len(DATA))
    download.download("http://127.0.0.1:9/x", tmp_path / "file.bin", on_progress=lambda *at: None)
    assert (tmp_path / "file.bin").read_bytes() == DATA


def test_a_damaged_note_is_no_note(server: Server, tmp_path: Path) -> None:
    leave(tmp_path / "file.bin", DATA[:10])
    (tmp_path / "file.bin.part.json").write_text("[")
    assert fetched(server, tmp_path / "file.bin") == DATA


def test_a_server_that_says_no_length_is_read_to_the_end(server: Server, tmp_path: Path) -> None:
    server.says_length = False
    assert fetched(server, tmp_path / "file.bin") == DATA


def test_passing_trouble_is_waited_for(server: Server, tmp_path: Path) -> None:
    server.statuses = [503, 429]
    assert fetched(server, tmp_path / "file.bin") == DATA


def test_trouble_that_does_not_pass_is_told(server: Server, tmp_path: Path) -> None:
    server.statuses = [503] * 100
    said = refused(server.url, tmp_path)
    assert "the server answers 503 Service Unavailable; nothing came, try again later" in said
    assert "goes on from there" not in said


@pytest.mark.parametrize(("status", "said"), [(404, "404 Not Found"), (403, "403 Forbidden")])
def test_a_refusal_is_told(server: Server, tmp_path: Path, status: int, said: str) -> None:
    server.statuses = [status]
    with pytest.raises(ModelError, match=said):
        fetched(server, tmp_path / "file.bin")
    assert len(server.asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_redirections_are_followed_over_http_alone(server: Server, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    for address in (f"file://{tmp_path}/secret", "ftp://127.0.0.1/x"):
        server.redirect = address
        with pytest.raises(ModelError, match=r"not safe|not allowed"):
            download.download(server.url, tmp_path / "file.bin", on_progress=lambda *at: None)
    server.redirect = "/elsewhere"
    with pytest.raises(ModelError, match="redirect"):
        download.download(server.url, tmp_path / "file.bin", on_progress=lambda *at: None)


def test_a_server_that_does_not_answer_costs_its_time_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/file.bin"
        with pytest.raises(ModelError, match="timed out"):
            download.download(url, tmp_path / "file.bin", on_progress=lambda *at: None)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://name.invalid/file.bin", "is not found; is this machine offline"),
        ("http://127.0.0.1:9/file.bin", "cannot be reached"),
        ("https://127.0.0.1:9/file.bin", "cannot be reached"),
        ("ftp://127.0.0.1/file.bin", "no http or https address"),
        ("file:///etc/passwd", "no http or https address"),
        ("http://[1/file.bin", "no http or https address"),
        ("http:///file.bin", "no http or https address"),
        ("http://127.0.0.1/a b", "no http or https address"),
    ],
)
def test_an_address_that_leads_nowhere_is_told_at_once(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        download.download(url, tmp_path / "file.bin", on_progress=lambda *at: None)


def test_more_than_a_model_is_not_taken(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MAX_BYTES", 1000)
    for says_length in (True, False):
        server.says_length = says_length
        with pytest.raises(ModelError, match=r"larger than|another file each time"):
            download.download(server.url, tmp_path / "file.bin", on_progress=lambda *at: None)
        assert not (tmp_path / "file.bin").exists()


def test_a_full_disk_is_told_and_the_part_kept(server: Server, tmp_path: Path) -> None:
    """The limit on the size of files stands for the disk: writing fails half-way as it would."""
    target = tmp_path / "file.bin"
    with _largest_file(300_000), pytest.raises(OutputError, match=r"file\.bin.* cannot be written"):
        download.download(server.url, target, on_progress=lambda *at: None)
    assert not target.exists()
    assert target.with_name("file.bin.part").stat().st_size == 300_000
    assert fetched(server, target) == DATA


@contextmanager
def _largest_file(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_folder_that_cannot_be_written_is_told(server: Server, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        download.download(server.url, tmp_path / "none" / "file.bin", on_progress=lambda *at: None)


# --- servers that mean no good --------------------------------------------------------------------

HURRY = download.Patience(silent_s=0.3, slowest_s=0.5, slowest_bytes=10_000)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@contextmanager
def speaking(*pieces: bytes, then: bytes = b"", pause_s: float = 0.0) -> Iterator[str]:
    """A server that sends pieces to each who asks, then a last one again and again, slowly."""
    over = threading.Event()

    def speak(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65536)
            for piece in pieces:
                connection.sendall(piece)
            while then and not over.wait(pause_s):
                connection.sendall(then)
            if not then and pause_s:
                over.wait()

    def listen(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                thread = threading.Thread(target=speak, args=(connection,))
                threads.append(thread)
                thread.start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threads = [threading.Thread(target=listen, args=(listening,))]
        threads[0].start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/file.bin"
        finally:
            over.set()
            listening.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def refused(url: str, folder: Path, max_bytes: int = 2_000_000) -> str:
    """Return what is said of a server; nothing lies under the file's name then."""
    with pytest.raises(ModelError) as caught:
        download.download(
            url,
            folder / "file.bin",
            on_progress=lambda *at: None,
            max_bytes=max_bytes,
            patience=HURRY,
        )
    assert not (folder / "file.bin").exists()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    return str(caught.value)


@pytest.mark.parametrize(
    ("pieces", "then", "pause_s", "said"),
    [
        ((), b"", 1, "the server does not answer: timed out after 0.3 s"),
        ((b"HTTP/1.1 ",), b"2", 0.05, "the server does not answer: timed out"),
        ((b"HTTP/1.1 200 OK\r\nX: ",), b"x", 0.05, "the server does not answer: timed out"),
        ((), b"HTTP/1.1 100 Continue\r\n\r\n", 0.001, "the server does not answer: timed out"),
        ((HEAD,), b"x", 0.05, "bytes came within 0.5 s"),
        ((HEAD, bytes(500)), b"", 1, "bytes came within 0.5 s"),
        ((CHUNKED,), b"1\r\nx\r\n", 0.05, "bytes came within 0.5 s"),
        ((CHUNKED,), b"0", 0.05, "0 bytes came within 0.5 s"),
        ((CHUNKED, b"5;"), b"x", 0.05, "0 bytes came within 0.5 s"),
    ],
    ids=["deaf", "status", "header", "continue", "drip", "stops", "chunks", "size", "extension"],
)
def test_a_server_that_hardly_sends_is_left(
    tmp_path: Path, pieces: tuple[bytes, ...], then: bytes, pause_s: float, said: str
) -> None:
    with speaking(*pieces, then=then, pause_s=pause_s) as url:
        assert said in refused(url, tmp_path)


def test_a_byte_in_each_answer_is_no_progress(server: Server, tmp_path: Path) -> None:
    server.breaks_after = [1] * 100_000
    assert "bytes came within 0.5 s; the same command" in refused(server.url, tmp_path)


def test_a_slow_server_that_goes_on_is_waited_for(tmp_path: Path) -> None:
    pieces = b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", bytes(10_000)
    with speaking(*pieces, then=bytes(2000), pause_s=0.05) as url:
        download.download(
            url, tmp_path / "file.bin", on_progress=lambda *at: None, patience=HURRY
        )  # a second and more, twice as long as it may take without progress
    assert (tmp_path / "file.bin").stat().st_size == 60_000


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\n\r\n", CHUNKED + b"ffffffffffff\r\n"],
    ids=["no length", "chunk"],
)
def test_a_body_without_end_is_stopped(tmp_path: Path, head: bytes) -> None:
    with speaking(head, then=bytes(100_000)) as url, _largest_file(2_000_000):
        said = refused(url, tmp_path, max_bytes=1_500_000)
    assert "sends more and more, which is larger than what is wanted (1.43 MiB at most)" in said
    assert list(tmp_path.iterdir()) == []


def test_more_than_is_wanted_is_not_begun(server: Server, tmp_path: Path) -> None:
    said = refused(server.url, tmp_path, max_bytes=1000)
    assert (
        f"has {len(DATA)} bytes, which is larger than what is wanted (1000 bytes at most)" in said
    )
    assert list(tmp_path.iterdir()) == []


def test_a_body_longer_than_its_length_ends_there(tmp_path: Path) -> None:
    with speaking(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345", then=b"6" * 100_000) as url:
        download.download(url, tmp_path / "file.bin", on_progress=lambda *at: None, patience=HURRY)
    assert (tmp_path / "file.bin").read_bytes() == b"12345"


@pytest.mark.parametrize(
    "length", [b"-5", b"+5", b"5, 5", b"1e9", b"0x10", b"\xb2", b"5 5", b"9" * 5000, b""]
)
def test_an_odd_length_is_told(tmp_path: Path, length: bytes) -> None:
    with speaking(b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n\r\n12345") as url:
        assert "as the length of the file" in refused(url, tmp_path)


@pytest.mark.parametrize(
    ("location", "said"),
    [
        (b"file:///etc/passwd", "to 'file:///etc/passwd', which is not safe"),
        (b"ftp://127.0.0.1/x", "not safe"),
        (b"data:,x", "not safe"),
        (b"http://127.0.0.1:99999/x", "not safe"),
        (b"http://[1/x", "not safe"),
        (b"http:///x", "a loop?"),
        (b"//", "a loop?"),
        (b"", "to '', which is not safe"),
        (b"http://a..b/x", "cannot be asked"),
        (b"http://" + b"x" * 300 + b"/", "cannot be asked"),
        (b"\xff\xfe", "redirections: a loop?"),
        (b"/again", "redirections: a loop?"),
    ],
)
def test_a_redirection_that_leads_nowhere_is_told(
    tmp_path: Path, location: bytes, said: str
) -> None:
    with speaking(b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\n\r\n", then=b"x") as url:
        assert said in refused(url, tmp_path)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", "the server answers 204 No Content"),
        (b"HTTP/1.1 999 " + b"x" * 5000 + b"\r\n\r\n", "the server answers 999 xxx"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\n12345", "compre"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "is no HTTP; nothing came, try again later"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "more than 100 headers"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", "got more than 65536 bytes"),
    ],
    ids=["no content", "status", "compressed", "no http", "headers", "long header"],
)
def test_an_odd_answer_is_told(tmp_path: Path, answer: bytes, said: str) -> None:
    with speaking(answer) as url:
        assert said in refused(url, tmp_path)


def test_a_tag_that_cannot_be_asked_with_is_none(tmp_path: Path) -> None:
    head = b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\nETag: "a\r\n b"\r\nLast-Modified: \xff\r\n\r\n'
    with speaking(head + b"1234") as url:
        refused(url, tmp_path)
    note = json.loads((tmp_path / "file.bin.part.json").read_text())
    assert note == {"etag": None, "last_modified": None, "size": 9}
