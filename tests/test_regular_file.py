"""Files that a user names are opened without waiting, and only if they are regular files."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from glm_gguf.errors import ConfigError, RequestError
from glm_gguf.regular_file import open_regular, read_regular, read_text


def a_directory(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_link_to_a_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(path))


def an_endless_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_broken_link(path: Path) -> None:
    path.symlink_to("nowhere")


def nothing(path: Path) -> None:
    """Make nothing."""


NO_FILES = {
    a_directory: "cannot be read: it is a directory, not a file",
    a_pipe: "cannot be read: it is a pipe, not a file",
    a_link_to_a_pipe: "cannot be read: it is a pipe, not a file",
    a_socket: "cannot be read: it is a socket, not a file",
    an_endless_device: "cannot be read: it is a device, not a file",
    a_broken_link: "cannot be read: No such file or directory",
    nothing: "cannot be read: No such file or directory",
}


@pytest.mark.parametrize(("make", "what"), NO_FILES.items(), ids=[make.__name__ for make in NO_FILES])
@pytest.mark.parametrize("read", [open_regular, lambda *to: read_regular(to[0], 10, *to[1:])], ids=["open", "read"])
def test_what_is_no_file_is_refused_at_once(
    tmp_path: Path, make: Callable[[Path], None], what: str, read: Callable[..., object]
) -> None:
    make(tmp_path / "named")
    with pytest.raises(ConfigError) as caught:
        read(tmp_path / "named", ConfigError, "name another")
    assert (caught.value.what, caught.value.path) == (what, str(tmp_path / "named"))
    assert caught.value.fix == "name another"


def test_a_name_that_no_path_can_have_is_an_error_like_others() -> None:
    with pytest.raises(RequestError, match="this is no path"):
        open_regular("a\0b")


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(3_000_000))
    assert read_regular(path, 3_000_000) == bytes(3_000_000)
    with pytest.raises(RequestError, match="more than 2,999,999 bytes"):
        read_regular(path, 2_999_999)


def test_a_file_that_claims_to_be_empty_is_read_to_its_end() -> None:
    assert Path("/proc/self/status").stat().st_size == 0
    assert b"Pid:" in read_regular("/proc/self/status", 2**16)


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"here")
    (tmp_path / "link").symlink_to("blob")
    with open_regular(tmp_path / "link") as file:
        assert file.read() == b"here"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        pytest.param(b"key\n", "key\n", id="plain"),
        pytest.param(b"\xef\xbb\xbfkey\r\nother\r\n", "key\nother\n", id="as Windows saves it"),
        pytest.param("北京\rb".encode(), "北京\nb", id="as old Macs did"),
    ],
)
def test_texts_come_as_they_are_meant(tmp_path: Path, data: bytes, text: str) -> None:
    (tmp_path / "text").write_bytes(data)
    assert read_text(tmp_path / "text", 100) == text


def test_a_text_in_another_encoding_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes("key".encode("utf-16"))
    with pytest.raises(RequestError, match="cannot be read: not UTF-8 at byte 0; save it as UTF-8"):
        read_text(tmp_path / "text", 100)
