"""What may go wrong with data: the error that says so, and the one list of what readers raise."""

from __future__ import annotations

import csv
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class DataError(ValueError):
    """Data that cannot be benchmarked; the message names what, where and the remedy."""


READER_ERRORS: tuple[type[Exception], ...] = (
    OSError,  # gzip and bz2 say so of a wrong form, too
    EOFError,
    ValueError,  # text that is no number, no UTF-8, no JSON; the errors of pandas
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RecursionError,  # JSON nested without end
    NotImplementedError,  # a way of compressing that zipfile lacks
    RuntimeError,  # an encrypted zip member; h5py
    MemoryError,  # sizes that a damaged header states
    csv.Error,
    struct.error,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What the readers of the formats in use raise for a file that is not what it should be."""


def said(error: BaseException) -> str:
    """What an error says in one line, by its class where it says nothing."""
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, ValueError | OSError) and text else (
        f"{type(error).__name__}: {text}" if text else type(error).__name__
    )  # fmt: skip


@contextmanager
def reading(
    path: str | Path, what: str, remedy: str, also: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Turn whatever a reader raises into one sentence.

    Parameters
    ----------
    path
        The file, and where it has them its member.
    what : str
        What it should be: "an .npz of plain arrays".
    remedy : str
        What to do.
    also : tuple of exception types
        What this reader raises beside READER_ERRORS.

    Raises
    ------
    DataError
        With file, what it should be, what was wrong and the remedy.
    """
    try:
        yield
    except DataError:
        raise
    except (*READER_ERRORS, *also) as error:
        raise DataError(f"{path} cannot be read as {what} ({said(error)}): {remedy}") from error
