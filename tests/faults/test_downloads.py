"""Downloads from a server that misbehaves: the whole file, or a sentence, nothing left behind."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import socket
import struct
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from anchorbench.data import transfer
from anchorbench.data.downloads import Source, SourceError, fetch
from faults.outcomes import End, of_call

TABLE = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(20_000))


def zipped(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in (members or {"a.csv": TABLE}).items():
            archive.writestr(name, body)
    return content.getvalue()


@dataclass
class File:
    """What the server has at a path, and how it serves it.

    how: a list of behaviours, one a request, the last one for all that follow.
    """

    body: bytes
    how: list[str]
    tag: str | None = '"1"'
    asked: list[dict[str, str]] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        file: File = self.server.files[self.path]  # type: ignore[attr-defined]
        how = file.how[min(len(file.asked), len(file.how) - 1)]
        file.asked.append(dict(self.headers))
        self.close_connection = True
        kind, _, value = how.partition(" ")
        getattr(self, f"_{kind}")(file, value)

    def _head(self, status: int, **headers: object) -> None:
        self.send_response(status)
        self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def _part(self, file: File) -> bytes:
        """Send the head of what was asked for; return the body."""
        wanted, tag = self.headers.get("Range"), {"ETag": file.tag} if file.tag else {}
        condition = self.headers.get("If-Range")
        if not wanted or (condition and condition != file.tag):
            self._head(200, Content_Length=len(file.body), Accept_Ranges="bytes", **tag)
            return file.body
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        place = f"bytes {start}-{len(file.body) - 1}/{len(file.body)}"
        self._head(206, Content_Length=len(file.body) - start, Content_Range=place, **tag)
        return file.body[start:]

    def _ok(self, file: File, value: str) -> None:
        self.wfile.write(self._part(file))

    def _whole(self, file: File, value: str) -> None:
        """A server that knows no ranges."""
        self._head(200, Content_Length=len(file.body))
        self.wfile.write(file.body)

    def _cut(self, file: File, value: str) -> None:
        body = self._part(file)
        self.wfile.write(body[: int(value)])

    def _change(self, file: File, value: str) -> None:
        """Break off, and have another file from then on."""
        self._cut(file, value)
        file.body, file.tag = file.body.replace(b"1", b"2"), '"2"'

    def _reset(self, file: File, value: str) -> None:
        """Break the connection as a router that was restarted does."""
        if value:
            self.wfile.write(self._part(file)[: int(value)])
            self.wfile.flush()
            time.sleep(0.05)
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()

    def _status(self, file: File, value: str) -> None:
        self._head(int(value), Content_Length=0, Retry_After=0)

    def _open(self, file: File, value: str) -> None:
        """A body without a length, which ends where the connection does."""
        self._head(200)
        self.wfile.write(file.body[: int(value) if value else None])

    def _chunks(self, file: File, value: str) -> None:
        self._head(200, Transfer_Encoding="chunked")
        self.wfile.write(b"%x\r\n%s\r\n" % (len(file.body), file.body))
        self.wfile.write(b"" if value == "cut" else b"0\r\n\r\n")

    def _stall(self, file: File, value: str) -> None:
        body = self._part(file)
        self.wfile.write(body[: int(value)])
        self.wfile.flush()
        time.sleep(1.5)

    def _drip(self, file: File, value: str) -> None:
        body = self._part(file)
        for at in range(40):
            self.wfile.write(body[at : at + 1])
            self.wfile.flush()
            time.sleep(0.05)

    def _endless(self, file: File, value: str) -> None:
        self._head(200)
        for _ in range(10_000):
            self.wfile.write(bytes(1 << 16))

    def _length(self, file: File, value: str) -> None:
        """State another length than the body has."""
        self._head(200, Content_Length=int(value))
        self.wfile.write(file.body)

    def _elsewhere(self, file: File, value: str) -> None:
        """Answer a range with another one."""
        if "Range" not in self.headers:
            return self._cut(file, "5000")
        self._head(206, Content_Length=10, Content_Range=f"bytes 0-9/{len(file.body)}")
        self.wfile.write(file.body[:10])
        return None

    def _circle(self, file: File, value: str) -> None:
        self._head(302, Location=self.path, Content_Length=0)

    def _packed(self, file: File, value: str) -> None:
        """Compressed for the way, though nobody asked for it."""
        body = gzip.compress(file.body)
        self._head(200, Content_Length=len(body), Content_Encoding="gzip")
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError, ValueError):
            super().handle()


class Web:
    """The server and the cache of one test."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.files: dict[str, File] = {}
        self.http.files = self.files  # type: ignore[attr-defined]
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def put(self, path: str, body: bytes, *how: str, **more: Any) -> File:
        self.files[path] = File(body, list(how) or ["ok"], **more)
        return self.files[path]

    def fetch(self, path: str, **spec: Any) -> Source:
        url = f"http://127.0.0.1:{self.http.server_address[1]}{path}"
        return fetch("mine", {"url": url, **spec}, self.cache)

    def left(self) -> list[str]:
        return [p.name for p in self.cache.rglob("*")] if self.cache.exists() else []


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(transfer, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(transfer, "TIMEOUT_SECONDS", 1.0)
    running = Web(tmp_path / "cache")
    yield running
    running.http.shutdown()
    running.http.server_close()


# How the server behaves, and how many requests it takes to have the whole file nevertheless.
OVERCOME: dict[str, tuple[list[str], int]] = {
    "nothing wrong": (["ok"], 1),
    "no ranges": (["whole"], 1),
    "in chunks": (["chunks"], 1),
    "packed for the way": (["packed"], 1),
    "500": (["status 500", "ok"], 2),
    "503 twice": (["status 503", "status 503", "ok"], 3),
    "429": (["status 429", "ok"], 2),
    "408": (["status 408", "ok"], 2),
    "reset at once": (["reset", "ok"], 2),
    "reset on the way": (["reset 7000", "ok"], 2),
    "cut": (["cut 9000", "ok"], 2),
    "cut three times": (["cut 9000", "cut 9000", "cut 9000", "ok"], 4),
    "cut, then no ranges": (["cut 9000", "whole"], 2),
    "cut, then 500": (["cut 9000", "status 500", "ok"], 3),
    "cut, then 416": (["cut 9000", "status 416", "ok"], 3),
    "chunks cut at the end": (["chunks cut", "ok"], 3),
    "stalled": (["stall 5000", "ok"], 2),
    "stalled at once": (["stall 0", "ok"], 2),
    "drips": (["drip", "ok"], 2),
    "another file meanwhile": (["change 9000", "ok"], 2),
    "another part": (["elsewhere", "elsewhere", "ok"], 3),
}  # fmt: skip


@pytest.mark.parametrize("case", OVERCOME)
def test_what_passes_is_overcome(web: Web, note: Callable[..., None], case: str) -> None:
    how, requests = OVERCOME[case]
    file = web.put("/t.csv", TABLE, *how)
    end, message = of_call(
        lambda: web.fetch("/t.csv"), lambda source: source.path.read_bytes() == file.body
    )
    note(end, message)
    assert end == End.RECOVERED, message
    assert len(file.asked) == requests
    assert sum(name.endswith(".csv") for name in web.left()) == 1 and len(web.left()) == 2


def test_what_came_is_not_asked_for_again(web: Web) -> None:
    file = web.put("/t.csv", TABLE, "cut 9000", "cut 500", "ok")
    web.fetch("/t.csv")
    assert [asked.get("Range") for asked in file.asked] == [None, "bytes=9000-", "bytes=9500-"]
    assert {asked.get("If-Range") for asked in file.asked[1:]} == {'"1"'}


def tarred(name: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(TABLE)
        archive.addfile(member, io.BytesIO(TABLE))
    return content.getvalue()


def damaged_member() -> bytes:
    body = bytearray(zipped(**{"a.bin": os.urandom(2000)}))
    body[600] ^= 0xFF
    return bytes(body)


PAGE = b"<!DOCTYPE html>\n<html><body>Log in</body></html>"
XHTML = (
    b'<?xml version="1.0"?>\n<!-- proxy -->\n<!DOCTYPE html PUBLIC "x">\n<html xmlns="y"></html>'
)
# Path, body, behaviour, specification, and words of the sentence.
GIVEN_UP: dict[str, tuple[str, bytes, str, dict[str, Any], str]] = {
    "404": ("/t.csv", TABLE, "status 404", {}, "no file there 404"),
    "403": ("/t.csv", TABLE, "status 403", {}, "answered 403"),
    "500 for ever": ("/t.csv", TABLE, "status 500", {}, "answered 500 4 attempts"),
    "resets for ever": ("/t.csv", TABLE, "reset", {}, "broke off 4 attempts"),
    "cut for ever": ("/t.csv", TABLE, "cut 10", {}, "broke off 40 of"),
    "stalls for ever": ("/t.csv", TABLE, "stall 0", {}, "stalled sent nothing 4 attempts"),
    "drips for ever": ("/t.csv", TABLE, "drip", {}, "stalled"),
    "in circles": ("/t.csv", TABLE, "circle", {}, "redirects"),
    "longer than stated": ("/t.zip", zipped(), "length 300", {}, "truncated"),
    "shorter than stated": ("/t.csv", TABLE, "length 900000", {}, "broke off"),
    "no length": ("/t.csv", TABLE, "open 9000", {}, "does not say how long sha256"),
    "endless": ("/t.zip", b"", "endless", {"max_mb": 2}, "larger than 2 MB max_mb"),
    "too large": ("/t.csv", TABLE, "ok", {"max_mb": 0.1}, "larger than 0.1 MB"),
    "too large unpacked": ("/t.zip", zipped(), "ok", {"unpacked_mb": 0.1}, "unpacks more 0.1 MB"),
    "a bomb": ("/t.gz", gzip.compress(bytes(10**7)), "ok", {"unpacked_mb": 1}, "unpacks more"),
    "a page": ("/t.csv", PAGE, "ok", {}, "HTML page"),
    "a page with a mark": ("/t.csv", b"\xef\xbb\xbf" + PAGE, "ok", {}, "HTML page"),
    "a page in UTF-16": ("/t.csv", PAGE.decode().encode("utf-16"), "ok", {}, "HTML page"),
    "XHTML": ("/t.csv", XHTML, "ok", {}, "HTML page"),
    "XHTML with a mark": ("/t.csv", b"\xef\xbb\xbf" + XHTML, "ok", {}, "HTML page"),
    "a page after a remark": ("/t.csv", b"<!-- x -->\n<HTML><p>", "ok", {}, "HTML page"),
    "an error of storage": ("/t.csv", b'<?xml version="1.0"?>\n<Error><Code>', "ok", {}, "page"),
    "JSON without end": ("/t.json", b"[" * 100_000, "ok", {}, "no JSON"),
    "no JSON": ("/t.json", b"{", "ok", {}, "no JSON"),
    "nothing": ("/t.csv", b"", "ok", {}, "empty"),
    "half a zip": ("/t.zip", zipped()[:500], "ok", {}, "truncated"),
    "half a zip without length": ("/t.zip", zipped(), "open 500", {}, "truncated"),
    "a damaged member": ("/t.zip", damaged_member(), "ok", {}, "damaged member a.bin"),
    "half a gz": ("/t.csv.gz", gzip.compress(TABLE)[:900], "ok", {}, "truncated"),
    "a zip that is none": ("/t.zip", TABLE, "ok", {}, "not a .zip"),
    "a way out": ("/t.zip", zipped(**{"../a": b"x"}), "ok", {}, "leads out '../a'"),
    "an absolute member": ("/t.zip", zipped(**{"/etc/a": b"x"}), "ok", {}, "leads out"),
    "a drive": ("/t.zip", zipped(**{"C:/a": b"x"}), "ok", {}, "leads out"),
    "a way out of a tar": ("/t.tar.gz", tarred("../../a"), "ok", {}, "leads out"),
    "another checksum": ("/t.csv", TABLE, "ok", {"sha256": "0" * 64}, "checksum 000"),
    "another md5": ("/t.csv", TABLE, "ok", {"md5": "0" * 32}, "checksum 000"),
}


@pytest.mark.parametrize("case", GIVEN_UP)
def test_what_does_not_pass_is_explained(
    web: Web, note: Callable[..., None], case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, body, how, spec, words = GIVEN_UP[case]
    if "for ever" in case:
        monkeypatch.setattr(transfer, "TIMEOUT_SECONDS", 0.3)
    web.put(path, body, how)
    end, message = of_call(lambda: web.fetch(path, **spec), lambda _: False)
    note(end, message)
    assert end == End.CLEAR_ERROR and "'mine'" in message
    assert all(word in message for word in words.split()), message
    assert web.left() == []


def test_archives_as_they_should_be(web: Web, note: Callable[..., None]) -> None:
    for path, body in {
        "/t.zip": zipped(),
        "/t.tar.gz": tarred("a/b.csv"),
        "/t.csv.gz": gzip.compress(TABLE),
        "/t.json": b'{"a": [1]}',
        "/t.html": PAGE,
    }.items():
        web.put(path, body, "open" if path.endswith(("zip", "gz")) else "ok")
        end, message = of_call(lambda path=path: web.fetch(path))
        note(end, message)
        assert end == End.RECOVERED, message


def test_an_altered_cache_is_noticed(web: Web, note: Callable[..., None]) -> None:
    file = web.put("/t.csv", TABLE)
    kept = web.fetch("/t.csv").path
    kept.write_bytes(TABLE.replace(b"7", b"8"))
    end, message = of_call(lambda: web.fetch("/t.csv"), lambda _: False)
    note(end, message)
    assert "was altered since the first download" in message and f"delete {kept}" in message
    kept.unlink()
    assert web.fetch("/t.csv").path.read_bytes() == TABLE
    assert len(file.asked) == 2


def test_another_file_at_the_same_address_is_noticed(web: Web, note: Callable[..., None]) -> None:
    file = web.put("/t.csv", TABLE)
    web.fetch("/t.csv").path.unlink()
    file.body = TABLE + b"1,1\n"
    end, message = of_call(lambda: web.fetch("/t.csv"), lambda _: False)
    note(end, message)
    new = message.rsplit(" ", 1)[-1]
    assert "has changed since the first download" in message and len(new) == 64
    # A checksum in the configuration decides, and is what is remembered from then on.
    assert web.fetch("/t.csv", sha256=new).path.read_bytes() == file.body
    assert web.fetch("/t.csv").sha256 == new


@pytest.mark.parametrize("memory", [b"", b"{", b"[]", b"\xff"])
def test_a_damaged_memory_of_the_first_download_is_made_anew(web: Web, memory: bytes) -> None:
    web.put("/t.csv", TABLE)
    kept = web.fetch("/t.csv").path
    first = kept.with_name(f"{kept.name}.json")
    sound = first.read_bytes()
    first.write_bytes(memory)
    web.fetch("/t.csv")
    assert first.read_bytes() == sound


def test_addresses_that_make_no_name(web: Web) -> None:
    for path in ("/a%20b'%22%24(touch%20x).csv", f"/{'x' * 300}.csv", "/..%2Fup.csv", "/"):
        web.put(path, TABLE)
        assert web.fetch(path).path.parent == web.cache


def test_a_full_disk_is_called_one(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    web.put("/t.csv", TABLE)

    def full(*_: object) -> None:
        raise transfer.TransferError(transfer.Failure.DISK, "No space left on device")

    monkeypatch.setattr(transfer, "_write", full)
    with pytest.raises(SourceError, match=r"No space left.*make room"):
        web.fetch("/t.csv")
    assert web.left() == []
