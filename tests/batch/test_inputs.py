from __future__ import annotations

import io
import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from vmm_cli.batch.inputs import (
    Input,
    discover,
    is_video_signature,
    looks_like_sound,
    looks_like_video,
    read_list,
    refuse_collisions,
    require_inputs,
)
from vmm_cli.errors import NoInputError, UsageError

Render = Callable[..., Path]

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(17)


def touch(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names(folder: Path | str) -> list[str]:
    return [item.output_name for item in discover([str(folder)]).inputs]


def test_a_folder_is_searched_recursively_sorted_and_without_what_is_hidden(tmp_path: Path) -> None:
    for name in ("b.mp4", "a/2.MKV", "a/1.avi", "a.mp4", ".hidden.mp4", ".git/x.mp4", "note.txt"):
        touch(tmp_path / name)
    found = discover([str(tmp_path)])
    assert [item.output_name for item in found.inputs] == ["a/1.avi", "a/2.MKV", "a.mp4", "b.mp4"]
    assert found.inputs[0].name == f"{tmp_path}/a/1.avi"
    assert found.inputs[0].path == tmp_path / "a" / "1.avi"
    assert found.missing == found.unreadable == ()


def test_names_are_kept_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "in" / "a.mp4")
    touch(tmp_path / "b.mp4")
    monkeypatch.chdir(tmp_path)
    found = discover(["./in/", "in/../b.mp4"]).inputs
    assert [item.name for item in found] == ["./in/a.mp4", "in/../b.mp4"]
    assert [item.output_name for item in found] == ["a.mp4", "b.mp4"]


def test_a_file_is_always_an_input(tmp_path: Path) -> None:
    note = touch(tmp_path / "note.txt")
    hidden = touch(tmp_path / ".hidden")
    os.mkfifo(tmp_path / "fifo.mp4")
    given = [str(note), str(hidden), str(tmp_path / "fifo.mp4"), "/dev/null"]
    assert [item.name for item in discover(given).inputs] == given


def test_fifos_sockets_and_dangling_links_in_folders_are_left_out(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.mp4")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dangling.mp4").symlink_to("nowhere.mp4")
    (tmp_path / "device.mp4").symlink_to("/dev/zero")
    (tmp_path / "self.mp4").symlink_to("self.mp4")
    touch(tmp_path / "good.mp4")
    found = discover([str(tmp_path)])
    assert [item.output_name for item in found.inputs] == ["good.mp4"]
    assert found.missing == found.unreadable == ()


def test_loops_of_links_end_and_each_real_file_counts_once(tmp_path: Path) -> None:
    root = tmp_path / "root"
    real = touch(root / "z" / "real.mp4")
    (root / "z" / "up").symlink_to(root)
    (root / "a").symlink_to("z")
    (root / "again.mp4").symlink_to(real)
    outside = touch(tmp_path / "outside" / "deep" / "more.mp4").parent.parent
    (root / "linked").symlink_to(outside)
    (outside / "back").symlink_to(root)
    assert names(root) == ["linked/deep/more.mp4", "z/real.mp4"]
    found = discover([str(root), str(real), str(root), str(root / "again.mp4")])
    assert len(found.inputs) == 2


def test_missing_arguments_are_told_once(tmp_path: Path) -> None:
    good = touch(tmp_path / "good.mp4")
    (tmp_path / "dangling.mp4").symlink_to("nowhere")
    absent = [
        str(tmp_path / "no.mp4"),
        f"{good}/inside",
        str(tmp_path / "dangling.mp4"),
        "",
        "a\0b",
    ]
    found = discover([*absent, str(good), *absent])
    assert found.missing == tuple(absent)
    assert [item.name for item in found.inputs] == [str(good)]


def test_a_link_to_itself_given_by_name_becomes_an_input(tmp_path: Path) -> None:
    (tmp_path / "self.mp4").symlink_to("self.mp4")
    assert len(discover([str(tmp_path / "self.mp4")]).inputs) == 1


def test_names_of_any_bytes_are_found(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path)
    for name in (b"caf\xe9.mp4", b"new\nline.mp4", b"esc\x1b[31m.mp4", b" -o .mp4"):
        Path(os.fsdecode(raw + b"/" + name)).write_bytes(b"x")
    found = discover([str(tmp_path)])
    assert sorted(os.fsencode(item.output_name) for item in found.inputs) == sorted(
        [b"caf\xe9.mp4", b"new\nline.mp4", b"esc\x1b[31m.mp4", b" -o .mp4"]
    )
    assert all(item.path.is_file() for item in found.inputs)


CLIPS = {  # by extension: codec and pixel format
    "mp4": ("libx264", "yuv420p"),
    "mkv": ("libx264", "yuv420p"),
    "avi": ("mpeg4", "yuv420p"),
    "flv": ("flv", "yuv420p"),
    "ts": ("mpeg2video", "yuv420p"),
    "mpg": ("mpeg2video", "yuv420p"),
    "wmv": ("wmv2", "yuv420p"),
    "gif": ("gif", "rgb8"),
    "mxf": ("mpeg2video", "yuv420p"),
    "mov": ("mpeg4", "yuv420p"),
    "webm": ("libvpx", "yuv420p"),
    "apng": ("apng", "rgb24"),
}


def test_clips_are_known_by_content_alone(tmp_path: Path, render_clip: Render) -> None:
    for extension, (codec, pix_fmt) in CLIPS.items():
        clip = render_clip(f"clip.{extension}", frames=3, codec=codec, pix_fmt=pix_fmt)
        clip.rename(tmp_path / f"content-{extension}")
    still = render_clip("still.apng", frames=1, codec="apng", pix_fmt="rgb24").read_bytes()
    (tmp_path / "still.apng").unlink()
    touch(tmp_path / "still", still.replace(b"acTL", b"teXt"))
    with av.open(str(tmp_path / "sound.ogg"), "w") as container:
        stream = container.add_stream("libopus", rate=48000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 2 * 4800), np.float32), format="flt", layout="stereo"
        )
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (tmp_path / "sound.ogg").rename(tmp_path / "sound")
    assert names(tmp_path) == sorted(f"content-{extension}" for extension in CLIPS)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("empty.mp4", b"", True),
        ("text.mp4", b"not a video", True),
        ("app.ts", b"const a: number = 1;\n", False),
        ("empty.ts", b"", False),
        ("damaged.ts", b"\x00\x12" * 500, True),
        ("photo", b"\0\0\0\x18ftypheic", False),
        ("photo.heic", b"\0\0\0\x18ftypmp42", False),
        ("old-quicktime", b"\0\0\x10\0moov", True),
        ("song.wma", bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), False),
        ("bluray", (b"\0\0\0\0\x47" + bytes(187)) * 5, True),
        ("playlist.m3u8", b"#EXTM3U", False),
        ("readme", b"GGGG words", False),
        ("photo.png", PNG + b"\0\0\1\0IDAT...acTL", False),
        ("photo.apng", PNG + b"\0\0\1\0IDAT...", False),
        ("moving.png", PNG + b"\0\0\0\x08acTL\0\0\0\2\0\0\0\0crc.\0\0\1\0IDAT", True),
    ],
)
def test_extension_and_content(tmp_path: Path, name: str, content: bytes, expected: bool) -> None:
    assert looks_like_video(touch(tmp_path / name, content)) is expected


def test_no_signature_in_nothing_or_noise() -> None:
    assert not is_video_signature(b"")
    assert not is_video_signature(bytes(4096))
    assert not any(is_video_signature(os.urandom(4096)) for _ in range(50))


def test_a_closed_folder_is_told_and_the_rest_found(tmp_path: Path) -> None:
    """Run as an ordinary user, for whom permissions count."""
    touch(tmp_path / "open.mp4")
    touch(tmp_path / "closed" / "x.mp4")
    (tmp_path / "closed").chmod(0)
    code = (
        "import os, sys\n"
        "from vmm_cli.batch.inputs import discover\n"
        "os.geteuid() or (os.setgid(65534), os.setuid(65534))\n"
        "found = discover(['.', './closed/x.mp4'])\n"
        "print([i.name for i in found.inputs], found.missing, found.unreadable)\n"
    )
    try:
        tmp_path.chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        (tmp_path / "closed").chmod(0o755)
    assert done.stdout == "['./open.mp4', './closed/x.mp4'] () ('./closed',)\n"


def test_lists(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9.mp4")
    listed = tmp_path / "list"
    listed.write_bytes(b"a.mp4\r\n\n" + os.fsencode(odd) + b"\nlast.mp4")
    assert read_list(str(listed)) == ["a.mp4", odd, "last.mp4"]
    listed.write_bytes(b"new\nline.mp4\0b.mp4\0")
    assert read_list(str(listed), nul=True) == ["new\nline.mp4", "b.mp4"]
    with pytest.raises(UsageError, match="-0"):
        read_list(str(listed))
    assert read_list("-", stdin=io.BytesIO(b"x\ny\n")) == ["x", "y"]
    for unreadable in (str(tmp_path / "absent"), str(tmp_path), "a\0b"):
        with pytest.raises(UsageError, match="cannot be read"):
            read_list(unreadable)


LISTED = ["n/UPPER.MP4", "caf\u00e9/\u8996\u983b.mp4", "last"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_lists_of_other_systems(tmp_path: Path, encoding: str, mark: str, newline: str) -> None:
    if encoding.startswith("utf-32") and not mark:
        return
    text = mark + newline.join([*LISTED, ""])
    listed = touch(tmp_path / "list", text.encode(encoding))
    assert read_list(str(listed)) == LISTED
    assert read_list("-", stdin=io.BytesIO(listed.read_bytes())) == LISTED
    if mark:
        listed.write_bytes((mark + "\0".join([*LISTED, ""])).encode(encoding))
        assert read_list(str(listed), nul=True) == LISTED


def test_a_list_of_a_single_line_in_utf_16(tmp_path: Path) -> None:
    listed = touch(tmp_path / "list", "videos/a.mp4".encode("utf-16-le"))
    assert read_list(str(listed)) == ["videos/a.mp4"]


@pytest.mark.parametrize("content", [b"abc\0", b"ab.mp4\0cd.mp4\0", b"\0\0\0\0"])
def test_a_list_with_nul_is_none_in_utf_16(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UsageError, match="-0"):
        read_list(str(touch(tmp_path / "list", content)))


def test_a_name_that_does_begin_with_a_mark_is_kept(tmp_path: Path) -> None:
    odd = touch(tmp_path / "\ufeffodd.mp4")
    listed = touch(tmp_path / "list", b"\xef\xbb\xbfodd.mp4\n")
    before = Path.cwd()
    try:
        os.chdir(tmp_path)
        assert read_list(str(listed)) == [odd.name]
    finally:
        os.chdir(before)


def test_names_are_found_however_their_accents_are_stored(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    on_disk = touch(tmp_path / apart / composed / f"{apart}.mp4")
    given = f"{tmp_path}/{composed}/{apart}/{composed}.mp4"
    (item,) = discover([given]).inputs
    assert (item.path, item.name, item.output_name) == (on_disk, given, f"{composed}.mp4")
    listed = touch(tmp_path / "list", f"{given}\n{tmp_path}/{composed}\n".encode())
    assert len(discover([], files_from=str(listed)).inputs) == 1
    both = touch(tmp_path / apart / composed / f"{composed}.mp4")
    assert discover([str(on_disk), str(both)]).inputs[1].path == both, "each is its own"
    missing = f"{tmp_path}/{composed}/none.mp4"
    assert discover([missing]).missing == (missing,)


def test_a_name_that_does_end_in_a_carriage_return_is_kept(tmp_path: Path) -> None:
    odd = touch(tmp_path / "odd.mp4\r")
    listed = touch(tmp_path / "list", os.fsencode(odd) + b"\n")
    assert read_list(str(listed)) == [str(odd)]


def test_a_list_adds_files_folders_and_missing_ones(tmp_path: Path) -> None:
    touch(tmp_path / "in" / "a.mp4")
    b = touch(tmp_path / "b.mp4")
    listed = touch(tmp_path / "list", os.fsencode(tmp_path / "in") + b"\nnowhere.mp4\n")
    found = discover([str(b)], files_from=str(listed))
    assert [item.output_name for item in found.inputs] == ["b.mp4", "a.mp4"]
    assert found.missing == ("nowhere.mp4",)


def test_nothing_found_is_an_error_only_where_nothing_is_to_be_told(tmp_path: Path) -> None:
    with pytest.raises(NoInputError, match=f"no video found in {tmp_path}"):
        require_inputs(discover([str(tmp_path)]), [str(tmp_path)])
    absent = [str(tmp_path / "absent")]
    require_inputs(discover(absent), absent)


def test_sound_is_looked_for_where_there_is_no_video(tmp_path: Path) -> None:
    for name in ("b.FLAC", "in/a.wav", "c.ogg", "cover.jpg", ".hidden.mp3"):
        touch(tmp_path / name)
    touch(tmp_path / "film.ogg", b"OggS" + bytes(24) + b"\x80theora")
    kinds = (looks_like_video, looks_like_sound)
    found = discover([str(tmp_path)], kinds=kinds)
    assert [item.output_name for item in found.inputs] == ["film.ogg"]
    (tmp_path / "film.ogg").unlink()
    assert discover([str(tmp_path)]).inputs == ()
    found = discover([str(tmp_path), str(tmp_path / "in")], kinds=kinds)
    assert [item.output_name for item in found.inputs] == ["b.FLAC", "c.ogg", "in/a.wav"]
    assert found.inputs[0].name == f"{tmp_path}/b.FLAC"


def item(name: str, output_name: str) -> Input:
    return Input(Path(name), name, output_name)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("x.mp4", "x.mp4"),
        ("X.mp4", "x.MP4"),
        ("straße.mp4", "STRASSE.mp4"),
        ("caf\u00e9.mp4", "cafe\u0301.mp4"),
        ("x", "x/y.mp4"),
        ("a/b/c.mp4", "A/B"),
    ],
)
def test_inputs_that_would_meet_are_refused_and_both_are_named(first: str, second: str) -> None:
    with pytest.raises(UsageError) as caught:
        refuse_collisions([item("one/in", first), item("ok", "ok"), item("two/in", second)])
    assert "one/in" in str(caught.value)
    assert "two/in" in str(caught.value)
    assert caught.value.exit_code == 2


def test_inputs_that_do_not_meet_pass() -> None:
    refuse_collisions([item("1", "a/x.mp4"), item("2", "b/x.mp4"), item("3", "a/x.mp4.mkv")])


def test_a_collision_is_one_clear_line_whatever_the_names() -> None:
    odd = "new\nline\x1b[31m" + os.fsdecode(b"\xe9") + ".mp4"
    with pytest.raises(UsageError) as caught:
        refuse_collisions([item(odd, odd), item("b/" + odd, odd)])
    assert str(caught.value).isprintable()
    str(caught.value).encode()


def test_many_files_are_found_quickly(tmp_path: Path) -> None:
    for i in range(2000):
        (tmp_path / f"{i:04}.mp4").touch()
    found = discover([str(tmp_path)]).inputs
    refuse_collisions(found)
    assert len(found) == 2000
