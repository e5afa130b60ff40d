"""One file over HTTP: several attempts with pauses, each going on where the last one broke off.

pooch, which would keep and verify files, knows neither ranges nor limits, and waits for ever for a
server that sends a byte now and then.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path
from typing import Any, BinaryIO

ATTEMPTS = 4
PAUSE_SECONDS = 1.0
"""Before the second attempt; doubled each time. A server may ask for more, up to LONGEST_PAUSE."""
LONGEST_PAUSE = 60.0
TIMEOUT_SECONDS = 60.0
"""A server that sends less than LEAST_BYTES in so long has stalled."""
LEAST_BYTES = 1024
_BLOCK_BYTES = 1 << 16
_TRY_AGAIN = (408, 425, 429)


class Failure(Enum):
    """Why a file could not be had."""

    CERTIFICATE = auto()
    STATUS = auto()
    BROKE_OFF = auto()
    STALLED = auto()
    UNREACHABLE = auto()
    TOO_LARGE = auto()
    DISK = auto()
    OTHER = auto()


class TransferError(Exception):
    """A file that could not be had: why, in how many attempts, and whether another may help."""

    def __init__(self, failure: Failure, text: str, again: bool = False, wait: float = 0) -> None:
        super().__init__(text)
        self.failure, self.again, self.wait, self.attempts = failure, again, wait, 1


class Transfer:
    """The download of one address to one path, at most `most_bytes` long.

    Attributes
    ----------
    delimited : bool
        Whether the server said where the file ends, by its length or in chunks.
    """

    def __init__(self, url: str, path: Path, most_bytes: float) -> None:
        self.url, self.path, self.most_bytes = url, path, most_bytes
        self.delimited = False
        self._total: int | None = None
        self._version: str | None = None  # of the file, as the server names it

    def run(self) -> None:
        """Download the file. Raises TransferError; what came until then is left at the path."""
        self.path.write_bytes(b"")
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self.path.open("r+b") as file:
                    self._attempt(file)
                return
            except TransferError as error:
                error.attempts = attempt
                if error.failure is Failure.BROKE_OFF and (came := self.path.stat().st_size):
                    error.args = (f"{came} of {self._total or 'unknown'} bytes came",)
                if not error.again or attempt == ATTEMPTS:
                    raise
                time.sleep(max(min(error.wait, LONGEST_PAUSE), PAUSE_SECONDS * 2 ** (attempt - 1)))

    def _attempt(self, file: BinaryIO) -> None:
        """Go on from what the file holds, or begin anew where the server does not let us."""
        have = file.seek(0, 2)
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if self._version:
                headers["If-Range"] = self._version
        with _translated(), _get(self.url, headers) as response:
            _check_status(response)
            if not self._continues(response, have):
                have = file.seek(0)
                file.truncate()
                self._describe(response)
            for block in _blocks(response):
                have += len(block)
                if have > self.most_bytes:
                    raise self._too_large()
                _write(file, block)
        if self._total is not None and have != self._total:
            text = f"{have} of {self._total} bytes came"
            raise TransferError(Failure.BROKE_OFF, text, again=True)

    def _continues(self, response: Any, have: int) -> bool:
        """Whether a response is the rest of what we have, of the same file."""
        if response.status_code != 206:
            return False
        place, _, total = response.headers.get("Content-Range", "").partition("/")
        if place.split("-")[0].strip() == f"bytes {have}" and total in ("*", str(self._total)):
            return True
        self._total = self._version = None
        self.path.write_bytes(b"")
        raise TransferError(Failure.BROKE_OFF, "the server sent another part", again=True)

    def _describe(self, response: Any) -> None:
        """Note length and version of a file that begins here."""
        headers = response.headers
        length = headers.get("Content-Length", "")
        encoded = headers.get("Content-Encoding", "identity") not in ("", "identity")
        self._total = int(length) if length.isdecimal() and not encoded else None
        tag = headers.get("ETag", "")
        self._version = tag if tag.startswith('"') else headers.get("Last-Modified")
        self.delimited = length.isdecimal() or bool(getattr(response.raw, "chunked", False))
        if self._total is not None and self._total > self.most_bytes:
            raise self._too_large()

    def _too_large(self) -> TransferError:
        said = f" ({self._total} bytes)" if self._total else ""
        text = f"is larger than {self.most_bytes / 1e6:g} MB{said}"
        return TransferError(Failure.TOO_LARGE, text)


def _get(url: str, headers: dict[str, str]) -> Any:
    import requests

    return requests.get(url, stream=True, timeout=TIMEOUT_SECONDS, headers=headers)


def _check_status(response: Any) -> None:
    status = response.status_code
    if status == 416:  # the file has become shorter
        raise TransferError(Failure.BROKE_OFF, "the file has changed", again=True)
    if status not in (200, 206):
        wait = response.headers.get("Retry-After", "")
        raise TransferError(
            Failure.STATUS,
            "no file there (404)" if status == 404 else f"the server answered {status}",
            again=status in _TRY_AGAIN or status >= 500,
            wait=float(wait) if wait.isdecimal() else 0,
        )


def _blocks(response: Any) -> Iterator[bytes]:
    """The body as it comes. Raises TransferError where hardly anything comes."""
    from tqdm import tqdm

    length = response.headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    since, came = time.monotonic(), 0
    with tqdm(
        total=total, unit="B", unit_scale=True, disable=not sys.stderr.isatty(), leave=False
    ) as bar:
        while block := response.raw.read1(_BLOCK_BYTES, decode_content=True):
            yield block
            bar.update(len(block))
            came += len(block)
            if (now := time.monotonic()) - since > TIMEOUT_SECONDS:
                if came < LEAST_BYTES:
                    raise _stalled()
                since, came = now, 0


def _stalled() -> TransferError:
    return TransferError(Failure.STALLED, f"{TIMEOUT_SECONDS:g} s", again=True)


def _write(file: BinaryIO, block: bytes) -> None:
    try:
        file.write(block)
        file.flush()
    except OSError as error:
        raise TransferError(Failure.DISK, str(error.strerror)) from error


@contextmanager
def _translated() -> Iterator[None]:
    """What requests and urllib3 raise as TransferError."""
    import urllib3.exceptions as below
    from requests import exceptions as above

    cut = (above.ChunkedEncodingError, below.ProtocolError, below.DecodeError)
    try:
        yield
    except (above.SSLError, below.SSLError) as error:
        raise TransferError(Failure.CERTIFICATE, str(error)) from error
    except (above.ReadTimeout, below.ReadTimeoutError) as error:
        raise _stalled() from error
    except (above.RequestException, below.HTTPError) as error:
        text = " ".join(str(error).split())[:200]
        if isinstance(error, cut) or "Connection aborted" in text:
            raise TransferError(Failure.BROKE_OFF, text, again=True) from error
        if isinstance(error, above.ConnectionError | below.HTTPError):
            raise TransferError(Failure.UNREACHABLE, text, again=True) from error
        raise TransferError(Failure.OTHER, text) from error
