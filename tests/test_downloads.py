"""fetch: what is accepted, and one clear message for every way in which a file can be wrong."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import socket
import ssl
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from anchorbench.data import transfer
from anchorbench.data.downloads import SourceError, fetch


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PAUSE_SECONDS", 0.0)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = self.server.files.get(self.path)  # type: ignore[attr-defined]
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        if self.path == "/busy.zip":
            self.send_error(503)
        elif body is None:
            self.send_error(404)
        else:
            self.send_response(200)
            extra = 100 if self.path == "/broken_off.zip" else 0
            self.send_header("Content-Length", str(len(body) + extra))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class Server:
    """A web server on this machine with files of its own."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.http.files, self.http.asked = self.files, self.asked  # type: ignore[attr-defined]
        if context:
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def put(self, path: str, body: bytes) -> str:
        self.files[path] = body
        return self.url + path


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running = Server()
    yield running
    running.http.shutdown()
    running.http.server_close()


@pytest.fixture
def zipped(tmp_path: Path) -> bytes:
    path = tmp_path / "made.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", os.urandom(5000).hex())
    return path.read_bytes()


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def refused(url: str, cache: Path, **spec: str) -> str:
    """The message of a refusal, which must leave no file in the cache."""
    with pytest.raises(SourceError) as caught:
        fetch("mine", {"url": url, **spec}, cache)
    assert not cache.exists() or not list(cache.rglob("*"))
    assert "'mine'" in str(caught.value)
    return str(caught.value)


def test_local_file_is_used_in_place(
    tmp_path: Path, zipped: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "d.zip").write_bytes(zipped)
    monkeypatch.chdir(tmp_path)
    source = fetch("mine", {"url": "data/d.zip", "sha256": sha256(zipped)}, tmp_path / "cache")
    assert source.path.resolve() == tmp_path / "data" / "d.zip"
    assert (source.sha256, source.bytes) == (sha256(zipped), len(zipped))
    assert not (tmp_path / "cache").exists()
    by_uri = fetch("mine", {"url": (tmp_path / "data" / "d.zip").as_uri()}, tmp_path / "cache")
    assert by_uri.sha256 == source.sha256


def test_download_is_kept_and_asked_for_once(tmp_path: Path, server: Server, zipped: bytes) -> None:
    url = server.put("/d.zip", zipped)
    spec = {"url": url, "md5": hashlib.md5(zipped).hexdigest()}
    first = fetch("mine", spec, tmp_path / "cache")
    again = fetch("mine", spec, tmp_path / "cache")
    assert first == again and first.path.read_bytes() == zipped
    assert first.sha256 == sha256(zipped) and first.url == url
    assert server.asked == ["/d.zip"]
    kept = {path.name for path in (tmp_path / "cache").iterdir()}
    assert kept == {first.path.name, f"{first.path.name}.json"}


def test_unverified_download_is_recorded(tmp_path: Path, server: Server, zipped: bytes) -> None:
    source = fetch("mine", {"url": server.put("/d.zip", zipped)}, tmp_path / "cache")
    assert source.sha256 == sha256(zipped)


def test_another_url_is_another_file(tmp_path: Path, server: Server) -> None:
    old = fetch("mine", {"url": server.put("/1/d.csv", b"a,b\n1,2\n")}, tmp_path / "cache")
    new = fetch("mine", {"url": server.put("/2/d.csv", b"a,b\n3,4\n")}, tmp_path / "cache")
    assert old.path != new.path and new.path.read_bytes() == b"a,b\n3,4\n"


def test_sha256_wins_over_md5(tmp_path: Path, zipped: bytes) -> None:
    path = tmp_path / "d.zip"
    path.write_bytes(zipped)
    fetch("mine", {"url": str(path), "sha256": sha256(zipped), "md5": "0" * 32}, tmp_path)
    right_md5 = hashlib.md5(zipped).hexdigest()
    message = refused(str(path), tmp_path / "c", sha256="0" * 64, md5=right_md5)
    assert "0" * 64 in message


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_wrong_checksum(tmp_path: Path, server: Server, zipped: bytes, kind: str) -> None:
    expected, got = "ab" * (32 if kind == "sha256" else 16), hashlib.new(kind, zipped).hexdigest()
    message = refused(server.put("/d.zip", zipped), tmp_path / "cache", **{kind: expected})
    assert "checksum" in message and expected in message and got in message
    assert "sources.mine.sha256" in message and sha256(zipped) in message
    local = tmp_path / "d.zip"
    local.write_bytes(zipped)
    assert f"replace {local}" in refused(str(local), tmp_path / "cache", **{kind: expected})


def test_cached_file_that_went_bad_is_named(tmp_path: Path, server: Server, zipped: bytes) -> None:
    spec = {"url": server.put("/d.zip", zipped), "sha256": sha256(zipped)}
    source = fetch("mine", spec, tmp_path / "cache")
    source.path.write_bytes(zipped + b"x")
    with pytest.raises(SourceError, match=f"delete {source.path}"):
        fetch("mine", spec, tmp_path / "cache")


@pytest.mark.parametrize("checked", [True, False])
def test_truncated_archives(tmp_path: Path, server: Server, zipped: bytes, checked: bool) -> None:
    spec = {"sha256": sha256(zipped)} if checked else {}
    cut = zipped[: len(zipped) // 2]
    assert "truncated" in refused(server.put("/d.zip", cut), tmp_path / "cache", **spec)
    packed = gzip.compress(os.urandom(9000))[:-200]
    assert "truncated" in refused(server.put("/d.gz", packed), tmp_path / "cache", **spec)
    assert "empty" in refused(server.put("/e.zip", b""), tmp_path / "cache", **spec)


@pytest.mark.parametrize("checked", [True, False])
def test_html_page_in_place_of_data(tmp_path: Path, server: Server, checked: bool) -> None:
    url = server.put("/d.zip", b"\n <!DOCTYPE html><html>Log in</html>")
    assert "HTML page" in refused(url, tmp_path / "cache", **({"md5": "0" * 32} if checked else {}))


def test_connection_that_breaks_off(tmp_path: Path, server: Server, zipped: bytes) -> None:
    assert "broke off" in refused(server.put("/broken_off.zip", zipped), tmp_path / "cache")


def test_http_errors(tmp_path: Path, server: Server) -> None:
    assert "404" in refused(server.url + "/none.zip", tmp_path / "cache")
    assert "503" in refused(server.url + "/busy.zip", tmp_path / "cache")


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    message = refused(f"http://127.0.0.1:{port}/d.zip", tmp_path / "cache")
    assert "no network" in message and "sources.mine.url" in message


def test_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: object, **__: object) -> None:
        raise requests.exceptions.ReadTimeout("read timed out")

    monkeypatch.setattr(requests, "get", silent)
    assert "sent nothing for" in refused("http://example.invalid/d.zip", tmp_path / "cache")


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs the openssl command")
@pytest.mark.parametrize("expired", [False, True])
def test_tls_certificates(
    tmp_path: Path, zipped: bytes, expired: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    certificate = _certificate(tmp_path, expired)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, tmp_path / "key.pem")
    if expired:
        # A trusted issuer: then the date is what the client objects to.
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    server = Server(context)
    message = refused(server.put("/d.zip", zipped), tmp_path / "cache")
    assert ("has expired" if expired else "self-signed") in message
    assert "local path" in message
    server.http.shutdown()
    server.http.server_close()


def _certificate(folder: Path, expired: bool) -> Path:
    request = "req -new -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -keyout key.pem -out ask.pem"
    sign = f"x509 -req -in ask.pem -signkey key.pem -out cert.pem -days {-1 if expired else 1}"
    sign += " -extfile names.txt"
    (folder / "names.txt").write_text("subjectAltName=IP:127.0.0.1\n", encoding="utf-8")
    for command in (request, sign):
        done = subprocess.run(["openssl", *command.split()], cwd=folder, capture_output=True)
        if done.returncode:
            pytest.skip(f"this openssl refuses: openssl {command}")
    return folder / "cert.pem"


def test_missing_local_file_and_missing_url(tmp_path: Path) -> None:
    message = refused(str(tmp_path / "none.zip"), tmp_path / "cache")
    assert "does not exist" in message and str(tmp_path / "none.zip") in message
    (tmp_path / "folder").mkdir()
    assert "is a folder" in refused(str(tmp_path / "folder"), tmp_path / "cache")
    with pytest.raises(SourceError, match="no url"):
        fetch("mine", {"licence": "x"}, tmp_path)
