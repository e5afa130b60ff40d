"""Configurations that are wrong: each gets a sentence with file, key and remedy."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anchorbench.study import config, plan, plugins
from anchorbench.study.config import ConfigError
from anchorbench.study.folder import config_files
from anchorbench.study.plugins import PluginError, discover, is_name
from anchorbench.study.yaml_text import YamlError, parse
from faults.outcomes import End, command, of_call, of_command, run

OWN = "datasets: {mine: {file: t.csv, likelihood: gaussian, "
ALIASES = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)
# What is written in a file, and the words that the sentence must have.
REFUSED = {
    "datasets twice": ("datasets: {synthetic: {}}\ndatasets: {}", "line 2 'datasets' line 1"),
    "a key twice": (f"{OWN}n_latent: 2, n_latent: 5}}}}", "'n_latent' given before"),
    "a dataset twice": ("datasets: {synthetic: {}, synthetic: false}", "'synthetic' before"),
    "setting beside dataset": (
        "datasets: {synthetic: {settings: {x: {}}}, synthetic_x: {plugin: synthetic}}",
        "synthetic_x both rename",
    ),
    "two settings alike": (
        "datasets: {synthetic: {settings: {a_b: {}}}, synthetic_a: {plugin: synthetic, "
        "settings: {b: {}}}}",
        "synthetic_a_b both",
    ),
    "likelihood misspelt": (
        "datasets: {mine: {file: t.csv, likelihood: gausian}}",
        "'gausian' 'gaussian'",
    ),
    "no likelihood": ("datasets: {mine: {file: t.csv}}", "needs a likelihood gaussian"),
    "no settings": ("datasets: {synthetic: {settings: {}}}", "settings empty leave"),
    "no methods": ("datasets: {synthetic: {}}\nmethods: []", "methods empty"),
    "no methods of a dataset": ("datasets: {synthetic: {methods: []}}", "methods empty"),
    "no metrics": ("datasets: {synthetic: {}}\nmetrics: []", "metrics empty"),
    "file and plugin": (f"{OWN}plugin: synthetic}}}}", "`file` `plugin` exclude"),
    "file and params": (f"{OWN}params: {{n: 1}}}}}}", "`file` `params` exclude"),
    "a plugin's labels": ("datasets: {synthetic: {labels: x}}", "`labels` own tables"),
    "a plugin's likelihood": ("datasets: {synthetic: {likelihood: poisson}}", "`params`"),
    "a plugin's folds": ("datasets: {synthetic: {folds: 3}}", "`folds`"),
    "unknown source": ("datasets: {synthetic: {sources: {raw: x}}}", "sources 'raw'"),
    "unknown replicates": (
        "datasets: {synthetic: {}}\n"
        "variants: {v: {method: vae, replicates: {synthetc: 2}}}",
        "'synthetc' 'synthetic'",
    ),
    "a variant among methods": (
        "datasets: {synthetic: {}}\nmethods: [v]\nvariants: {v: {method: vae}}",
        "'v' variant 'vae'",
    ),
    "a number in quotes": ("datasets: {synthetic: {params: {rho: '0.5'}}}", "rho '0.5' quotes"),
    "a variant's number in quotes": (
        "datasets: {synthetic: {}}\nvariants: {v: {method: vae, params: {epochs: '5'}}}",
        "epochs '5' quotes",
    ),
    "more replicates than folds": (f"{OWN}folds: 3, replicates: 5}}}}", "5 3 folds"),
    "memory nan": ("datasets: {synthetic: {}}\nlimits: {memory_mb: .nan}", "memory_mb finite"),
    "seconds inf": ("datasets: {synthetic: {}}\nlimits: {seconds: .inf}", "seconds finite"),
    "a rate of inf": (
        "datasets: {synthetic: {}}\nvariants: {v: {method: vae, params: {learning_rate: -.inf}}}",
        "learning_rate finite",
    ),
    "a float of replicates": (
        "datasets: {synthetic: {replicates: 3.0}}",
        "replicates 3.0 'integer' write 3",
    ),
    "replicates true": ("datasets: {synthetic: {replicates: yes}}", "replicates True 'integer'"),
    "a billion replicates": ("datasets: {synthetic: {replicates: 1000000000}}", "maximum 10000"),
    "a seed with zeros": ("datasets: {synthetic: {}}\nseed: 010", "seed '010' 'integer'"),
    "a date": ("datasets: {synthetic: {}}\nseed: 2024-01-31", "seed '2024-01-31' 'integer'"),
    "a set": ("datasets: {synthetic: {params: !!set {n}}}", "line 1 !!set"),
    "bytes": ("datasets: {synthetic: {label: !!binary aGk=}}", "!!binary"),
    "an object": ("datasets: !!python/object/apply:os.system [touch pwned]", "python/object"),
    "a cycle": ("datasets: &d {synthetic: {params: *d}}", "alias back to itself"),
    "aliases of aliases": (f"{ALIASES}datasets: {{synthetic: {{}}}}", "100000 aliases"),
    "deep": ("datasets: " + "{a: " * 60 + "1" + "}" * 60, "nested"),
    "deeper": ("datasets: " + "[" * 5000, "nested"),
    "the key no": ("datasets: {no: {plugin: synthetic}}", "key 'no' quotes"),
    "a number as key": ("datasets: {1: {plugin: synthetic}}", "key '1' quotes"),
    "keys of two types": ("datasets: {1: {}, synthetic: {}}", "key '1' quotes"),
    "no key": ("datasets: {~: {}}", "key '~' empty quotes"),
    "a list as key": ("? [datasets]\n: 1", "list quotes"),
    "labels no": (f"{OWN}labels: no}}}}", "labels False quotes"),
    "a scalar": ("synthetic", "mapping"),
    "a number": ("0", "mapping"),
    "a list": ("[datasets]", "mapping"),
    "two documents": ("---\ndatasets: {}\n---\ndatasets: {}", "single document"),
    "tabs": ("datasets:\n\tsynthetic: {}", "not valid YAML"),
    "a null character": ("datasets: {synthetic: {label: '\0'}}", "not valid YAML"),
    "nothing": ("", "no datasets"),
    "datasets null": ("datasets:", "datasets None 'object'"),
    "a dataset null": ("datasets: {synthetic: }", "synthetic 'object'"),
    "a dataset true": ("datasets: {synthetic: true}", "synthetic 'object'"),
    "nothing to run": (
        "datasets: {mine: {file: t.csv, likelihood: gaussian}}\nmethods: [lda]",
        "mine none of the methods gaussian",
    ),
    "a folder of a name": ("datasets: {synthetic: {settings: {'..': {}}}}", "'..' name"),
    "a web table": (
        "datasets: {mine: {file: 'https://example.org/t.csv', likelihood: gaussian}}",
        "web address download",
    ),
}  # fmt: skip
ACCEPTED = {
    "a byte order mark": "\ufeffdatasets: {synthetic: {}}",
    "CRLF": "datasets:\r\n  synthetic: {}\r\n",
    "off": "datasets: {synthetic: {}, simulated_counts: off}",
    "1e-3": "datasets: {synthetic: {training: {learning_rate: 1e-3}}}",
    "merged keys": "datasets: {synthetic: &s {n_latent: 2}, more: {<<: *s, plugin: synthetic}}",
    "any label": "datasets: {synthetic: {label: '$(touch pwned) | & \\\\ é 数'}}",
    "a date as label": "datasets: {synthetic: {label: 2024-01-31}}",
}
NAMES = ["a b", "it's", "-n", "{x}", "a/b", "..", ".", "$(touch pwned)", "a\n", "", "é", "a" * 65]
NAMES += ["`id`", "a;b", "*", "a&b", "~", "#", "a:b", '"', "\\", "a,b", "<<"]


def planned(path: Path) -> plan.Plan:
    return plan.make(config.load([path]))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{i * 7 % 11},{i * 5 % 13},{i * 3 % 17}\n" for i in range(30))
    (tmp_path / "t.csv").write_text("a,b,c\n" + rows)
    return tmp_path


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_configurations_are_explained(
    folder: Path, note: Callable[..., None], case: str
) -> None:
    text, words = REFUSED[case]
    file = folder / "wrong.yaml"
    file.write_text(text)
    end, message = of_call(lambda: planned(file), lambda _: False)
    note(end, message)
    assert all(word in message for word in words.split()), message
    assert len(message) < 700 and not (folder / "pwned").exists()


@pytest.mark.parametrize("case", ACCEPTED)
def test_unusual_configurations_are_read(
    folder: Path, note: Callable[..., None], case: str
) -> None:
    file = folder / "odd.yaml"
    file.write_bytes(ACCEPTED[case].encode())
    end, message = of_call(lambda: planned(file), lambda made: bool(made.jobs))
    note(end, message)
    assert end == End.RECOVERED, message


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "where",
    [
        lambda name: {"datasets": {name: {"plugin": "synthetic"}}},
        lambda name: {"datasets": {"synthetic": {"settings": {name: {}}}}},
        lambda name: {"datasets": {"synthetic": {}}, "variants": {name: {"method": "vae"}}},
        lambda name: {"datasets": {"synthetic": {}}, "sources": {name: {"url": "x"}}},
    ],
    ids=["dataset", "setting", "variant", "source"],
)
def test_names_are_checked_on_entry(
    folder: Path, note: Callable[..., None], name: str, where: Callable[[str], dict]
) -> None:
    file = folder / "names.yaml"
    file.write_text(yaml.safe_dump(where(name), allow_unicode=True), encoding="utf-8")
    end, message = of_call(lambda: planned(file), lambda _: False)
    note(end, message)
    assert "name" in message and "letters" in message


@pytest.mark.parametrize("name", ["a b", "it's", "-n", "{x}", "é", "a;b", "file"])
def test_files_of_plugins_have_names_like_any_other(
    tmp_path: Path, note: Callable[..., None], name: str
) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / f"{name}.py").write_text('DATASET = {"label": "x"}')
    end, message = of_call(lambda: discover("datasets", tmp_path), lambda _: False)
    note(end, message)
    assert f"{name}.py: rename it" in message


def test_what_editors_and_macos_leave_beside_plugins_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "methods").mkdir()
    for name in (".#vae.py", "._vae.py", "_help.py"):
        (tmp_path / "methods" / name).write_text("x")
    assert discover("methods", tmp_path) == {}


def test_a_number_that_json_has_not_breaks_a_plugin(tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    file.write_text('METHOD = {"label": "x", "params": {"rate": 1e999}}')
    with pytest.raises(PluginError, match="not finite"):
        plugins.literal(file, "METHOD")


FILES: dict[str, tuple[bytes | None, str]] = {
    "UTF-16": ("datasets: {synthetic: {}}".encode("utf-16"), "UTF-8"),
    "Latin-1": ("datasets: {synthetic: {label: Mäuse}}".encode("latin-1"), "UTF-8"),
    "missing": (None, "no such configuration file"),
}


@pytest.mark.parametrize("kind", [*FILES, "a folder"])
def test_files_that_are_no_text(folder: Path, note: Callable[..., None], kind: str) -> None:
    file = folder / "c.yaml"
    content, words = FILES.get(kind, (None, "is a folder"))
    if kind == "a folder":
        file.mkdir()
    elif content is not None:
        file.write_bytes(content)
    end, message = of_call(lambda: planned(file), lambda _: False)
    note(end, message)
    assert words in message and str(file) in message


def test_json_keeps_what_yaml_would_not(folder: Path) -> None:
    (folder / "c.json").write_text(
        '{"datasets": {"synthetic": {"label": "\\ud83d\\ude00"}}, "seed": 1}'
    )
    assert config.load([folder / "c.json"])["datasets"]["synthetic"]["label"] == "😀"
    (folder / "c.json").write_text('{"limits": {"seconds": Infinity}}')
    with pytest.raises(ConfigError, match="finite"):
        config.load([folder / "c.json"])


def test_files_named_to_snakemake_are_found() -> None:
    lines = {
        "--configfile a.yaml b.yaml --cores 2": ["a.yaml", "b.yaml"],
        "-n --configfiles a.yaml -- all": ["a.yaml"],
        "--configfile=a.yaml --cores 2": ["a.yaml"],
        "--config seed=1 --cores 2 all": [],
    }
    for line, expected in lines.items():
        assert config_files(line.split()) == expected


def test_the_command_line_says_so_too(folder: Path, note: Callable[..., None]) -> None:
    (folder / "c.yaml").write_text("datasets: {synthetic: {}}\n")
    calls = {
        ("plan", "--configfile", "none.yaml"): "no such configuration file",
        ("plan", "--configfile", "c.yaml", "--config", "seed=.nan"): "finite",
        ("plan",): "anchorbench init",
        ("run", "-n", "--configfile", "none.yaml"): "no such configuration file",
        ("prepare", "--configfile", "c.yaml", "--dataset", "synthetik"): "did you mean 'synthetic'",
    }
    for arguments, words in calls.items():
        ended = run(command(*arguments), folder)
        note(of_command(ended, lambda: False), ended.text)
        assert ended.code == 2 and words in ended.stderr


def test_a_reader_that_has_seen_enough(folder: Path, note: Callable[..., None]) -> None:
    (folder / "c.yaml").write_text("datasets: {synthetic: {replicates: 4000, block: 1}}\n")
    line = subprocess.list2cmdline(command("plan", "--configfile", "c.yaml"))
    # As SIGPIPE would have ended it: silent, and not with 0.
    ended = run(["bash", "-c", f"{line} | head -1; exit $((PIPESTATUS[0] != 141))"], folder)
    note(of_command(ended, lambda: "synthetic" in ended.stdout), ended.text)
    assert ended.stderr == "" and "synthetic" in ended.stdout


# ---- anything at all -----------------------------------------------------------------------------

KEYS = ["datasets", "synthetic", "settings", "replicates", "n_latent", "training", "epochs", "seed"]
KEYS += ["methods", "variants", "method", "params", "rho", "limits", "file", "likelihood", "plugin"]
WORDS = ["vae", "synthetic", "corrected", "gaussian", "no", "1e3", "~", "2024-01-31", "t.csv", ""]
SCALARS = (
    st.sampled_from(WORDS)
    | st.integers(-2, 2**70)
    | st.floats()
    | st.booleans()
    | st.none()
    | st.text(max_size=6)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)
CONFIGS = st.fixed_dictionaries(
    {"datasets": st.just({"synthetic": {}}) | st.dictionaries(st.sampled_from(KEYS), VALUES)},
    optional=dict.fromkeys(("seed", "methods", "variants", "limits", "protocols"), VALUES),
)


def _no_surprise(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    end, message = of_call(lambda: planned(path))
    assert end in (End.RECOVERED, End.CLEAR_ERROR), message


ANYHOW = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "database": None,
    "derandomize": True,
}


@settings(max_examples=60, **ANYHOW)
@given(value=CONFIGS)
def test_any_configuration_ends_well(folder: Path, value: dict) -> None:
    _no_surprise(folder / "any.yaml", yaml.safe_dump(value, allow_unicode=True))


@pytest.mark.slow
@pytest.mark.parametrize("start", range(10))
def test_many_configurations_end_well(folder: Path, note: Callable[..., None], start: int) -> None:
    @settings(max_examples=200, **ANYHOW)
    @given(value=CONFIGS, cut=st.integers(0, 400), extra=st.text(max_size=3))
    def damaged(value: dict, cut: int, extra: str) -> None:
        text = yaml.safe_dump(value, allow_unicode=True, default_flow_style=start % 2 == 0)
        _no_surprise(folder / "any.yaml", text[:cut] + extra * (start > 4) + text[cut:])

    end, message = of_call(damaged)
    note(end, message)


@settings(max_examples=200, **ANYHOW)
@given(text=st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except YamlError as error:
        assert str(error)


@settings(max_examples=200, **ANYHOW)
@given(name=st.text(max_size=70))
def test_a_name_is_safe_in_paths_and_commands(name: str) -> None:
    if is_name(name):
        assert name.isascii() and not set(name) & set(" /\\'\"$`{}*?;&|<>\n") and name[0].isalnum()
