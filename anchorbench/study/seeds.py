"""Seeds by hashing, so that adding a dataset or a method moves nobody else's seed."""

import hashlib


def derive(base: int, *names: object) -> int:
    """Return a seed in [0, 2^31) that depends on `base` and on the names alone."""
    text = "\x1f".join(str(part) for part in (base, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def of_run(base: int, dataset: str, method: str, replicate: int) -> tuple[int, int]:
    """Return the seed of a replicate's data and that of a method's fit to it."""
    return derive(base, dataset, replicate), derive(base, dataset, method, replicate)
