"""Why two runs have different digests, in lines that name what differs."""

import pytest

from anchorbench.runs import why
from anchorbench.runs.sealed import write_sealed
from anchorbench.runs.store import Store
from anchorbench.study import config, plan
from anchorbench.study.config import ConfigError
from anchorbench.study.jobs import run_digest

CODE = {"methods/vae.py": "aaa", "anchorbench/models/nets.py": "bbb"}


def record(digest="0" * 20, **changes):
    """A record with ingredients as `runs.fit.describe` writes them."""
    run = {"data": "d1", "code": "c1", "method": "vae", "params": {"epochs": 2}, "seed": 0}
    data = {"code": "e1", "sources": {"raw": "s1"}, "files": {}, "params": {}}
    parts = {"run": run | changes.get("run", {}), "data": data | changes.get("data", {})}
    parts["files"] = CODE | changes.get("files", {})
    about = {"digest": digest, "replicate": 0, "git_commit": "abc", "versions": {"torch": "2"}}
    return about | {"ingredients": parts} | changes.get("record", {})


CHANGES = {
    "params epochs: 2 -> 3": {"run": {"params": {"epochs": 3}}},
    "params rate: (absent) -> 0.1": {"run": {"params": {"epochs": 2, "rate": 0.1}}},
    "seed: 0 -> 1": {"run": {"seed": 1}},
    "data sources raw: s1 -> s2": {"data": {"sources": {"raw": "s2"}}, "run": {"data": "d2"}},
    "code of anchorbench/models/nets.py: bbb -> ccc": {
        "files": {"anchorbench/models/nets.py": "ccc"}, "run": {"code": "c2"},
    },
    "replicate: 0 -> 3": {"record": {"replicate": 3}},
}  # fmt: skip


@pytest.mark.parametrize("line", CHANGES)
def test_what_differs_is_named_and_nothing_else(line):
    assert why.differences(record(), record(**CHANGES[line])) == [line]


def test_what_is_not_in_the_digest_is_said_to_be_so():
    other = record(record={"git_commit": "def", "versions": {"torch": "3"}})
    assert why.differences(record(), other) == [
        "nothing that enters the digest differs",
        "not in the digest: git_commit: abc -> def",
        "not in the digest: versions torch: 2 -> 3",
    ]


@pytest.fixture
def made():
    datasets = {"synthetic": {"replicates": 2}, "simulated_counts": False}
    return plan.make(config.merge(config.DEFAULTS, {"datasets": datasets, "methods": ["nmf"]}))


def test_runs_are_found_by_digest_its_beginning_or_their_names(tmp_path, made):
    store = Store(tmp_path)
    digest = run_digest(made.jobs[0], 1)
    write_sealed(store.run(digest) / "record.json", record(digest))
    write_sealed(store.run("f" * 20) / "record.json", record("f" * 20))
    for name in (digest, digest[:8], "synthetic/nmf/corrected/1"):
        assert why.find(name, store, made)["digest"] == digest


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("zzz", "no run 'zzz'"),
        ("*", "no run"),
        ("f", "'f' begins 2 digests: give more of it"),
        ("synthetic/nmf/corrected/0", "no run"),
        ("synthetic/nmf/corrected/9", "synthetic nmf corrected has no replicate 9"),
        ("synthetic/nmff/corrected/0", "did you mean 'nmf'"),
        ("synthetik/nmf/corrected/0", "did you mean 'synthetic'"),
    ],
)
def test_names_that_lead_nowhere_or_to_several_are_refused(tmp_path, made, name, message):
    store = Store(tmp_path)
    for digest in ("f0" * 10, "f1" * 10):
        write_sealed(store.run(digest) / "record.json", record(digest))
    with pytest.raises(ConfigError, match=message):
        why.find(name, store, made)
