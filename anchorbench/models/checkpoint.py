"""Training that survives its process: the state of a stack on disk, now and then.

A file is named by a digest of everything that decides the numbers (model, data, seeds, settings),
so that only the same training goes on from it. It holds tensors, numbers and words, nothing that
could run.
"""

import hashlib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FOLDER, MINUTES = "ANCHORBENCH_CHECKPOINTS", "ANCHORBENCH_CHECKPOINT_MINUTES"
"""Environment variables: where checkpoints go (none without it), and how often."""
DIGEST = 32
"""Bytes of a SHA-256, with which a file begins, of all that follows."""


@dataclass
class Checkpoints:
    """The checkpoints of one call of `training.train`, in `folder`, one every `minutes`."""

    folder: Path
    minutes: float = 10.0
    used: set[Path] = field(default_factory=set)
    last: float = field(default_factory=time.monotonic)

    @classmethod
    def from_environment(cls) -> "Checkpoints | None":
        """As the environment says; None where it says nothing."""
        if not (folder := os.environ.get(FOLDER)):
            return None
        return cls(Path(folder), float(os.environ.get(MINUTES, "10")))

    def due(self) -> bool:
        """Whether the last checkpoint is `minutes` old."""
        return time.monotonic() - self.last >= 60 * self.minutes

    def read(self, name: str) -> dict[str, Any] | None:
        """What was last written under `name`; None, with a line, where it cannot be read."""
        path = self._path(name)
        if not path.exists():
            return None
        content = path.read_bytes()
        if hashlib.sha256(content[DIGEST:]).digest() != content[:DIGEST]:
            print(f"{path}: damaged; training begins anew", file=sys.stderr)
            return None
        found: dict[str, Any] = torch.load(BytesIO(content[DIGEST:]), weights_only=True)
        return found

    def write(self, name: str, state: Mapping[str, Any]) -> None:
        """Puts `state` in place of what was there, whole or not at all."""
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.part")
        content = BytesIO()
        torch.save(dict(state), content)
        with partial.open("wb") as file:
            file.write(hashlib.sha256(content.getvalue()).digest())
            file.write(content.getvalue())
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        self.last = time.monotonic()

    def clear(self) -> None:
        """Removes what this training wrote or read, and the folder if nothing else is in it."""
        for path in self.used:
            path.unlink(missing_ok=True)
            for partial in path.parent.glob(f"{path.stem}.*.part"):  # of a process killed writing
                partial.unlink(missing_ok=True)
        self.used.clear()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _path(self, name: str) -> Path:
        path = self.folder / f"{name}.pt"
        self.used.add(path)
        return path


def signature(
    model: Any, Xs: Sequence[Tensor], seeds: Sequence[int], settings: Sequence[Any], device: str
) -> str:
    """A digest of what decides the numbers of a stack."""
    plain = str | int | float | None
    facts = {k: v for k, v in vars(model).items() if isinstance(v, plain) and k != "device"}
    digest = hashlib.sha256()
    for fact in (type(model).__qualname__, sorted(facts.items()), list(seeds), list(settings)):
        digest.update(repr(fact).encode())
    digest.update(f"{torch.__version__} {device}".encode())
    data: dict[int, bytes] = {}
    for X in Xs:
        if id(X) not in data:
            data[id(X)] = hashlib.sha256(X.numpy().tobytes()).digest()
        digest.update(repr(tuple(X.shape)).encode() + data[id(X)])
    return digest.hexdigest()[:32]
