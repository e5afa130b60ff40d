"""Every number in the sentences of the reference run's pages is what results/claims.csv says it is:
a score, or a comparison with its interval and verdict."""

import csv
import re
from functools import cache

import pandas as pd
import pytest
from prose import (
    NUMBER,
    PAGES,
    REFERENCE,
    RESULTS,
    at_papers_length,
    number,
    numbers,
    paragraphs,
    sentences,
)

BARE = rf"(?<![\w.,@/]){NUMBER}"
INTERVAL = rf"(?:{NUMBER} )?\[{NUMBER}, {NUMBER}\]"
RHO = r"(?:0|\.\d{1,2})"
SEVERAL = rf"{RHO}(?:(?:,| and| or| to) {RHO})*(?: and {RHO})?"
COUNTED = (
    "people rows draws folds replicates pairs epochs steps trials users films cells genes words "
    "tokens abstracts scales methods factors anchors"
).replace(" ", "|")
NAMES = r"`[^`]*`|MovieLens \d+M|(?:Table|Figure|Theorem|eq\.) \d+\w?|N\(0, 1\)|1/K"
SETTINGS = (  # numbers that are no results
    rf"{NAMES}|95 % intervals|λ0 = (?:λ1 = )?[\d.]+|batches of \d+|\brate of \.\d+",
    rf"ρ = {SEVERAL}|\bat {SEVERAL}(?![\w%])",
    r"\b\d{4}\)|\bof \d{4}\b|\b0 by chance(?: and 1 )?",
    r"\b(?:folds?|replicate) \d(?: (?:and|to) \d)?",
    rf"{BARE} (?:(?:gradient|latent|true) )?(?:{COUNTED})\b",
)
SAID = {  # what a paragraph says of a verdict
    "better": r"\b(?:better|worse|decided)\b",
    "worse": r"\b(?:better|worse|decided)\b",
    "same": r"\bsame\b",
    "not decided": r"decided?\b",
    "no better than the floor": "floor|training mean",
    "no word": r"no word|not among the verdicts",
}


@cache
def claims(page):
    with (RESULTS / "claims.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["page"] == page]


@cache
def compared(kind):
    """The comparisons of a table, by what claims.csv calls it."""
    path, column, names = {
        "compared": ("tables/comparisons", "difference", "method"),
        "contrast": ("tables/comparisons", "difference", "method"),
        "loss": ("tables/theory_verdict", "loss", "method"),
        "tuned": ("tables/tuning", "difference", "method"),
        "quirk": ("figures/quirks", "difference", "variant"),
    }[kind]
    table = pd.read_csv(REFERENCE / f"{path}.csv", low_memory=False)
    if kind in ("compared", "contrast"):
        table = table[(table["family"] == "contrasts") == (kind == "contrast")]
    table = table.assign(
        difference=table[column],
        method=table[names],
        protocol=table.get("protocol", "tuned"),
        verdict=table.get("verdict", "no word"),
        reference=table["reference"] if kind == "contrast" else "",
    )
    return table.set_index(["dataset", "method", "protocol", "metric", "reference"]).sort_index()


def comparison(source):
    """Difference, its ends and the verdict of "kind dataset/method/protocol/metric[ - method]"."""
    kind, _, rest = source.partition(" ")
    scores, _, against = rest.partition(" - ")
    (row,) = compared(kind).loc[[(*key(scores), against)]].itertuples()
    return (row.difference, row.low, row.high), re.sub(r" by n.*", "", row.verdict)


@cache
def judged():
    """The printed numbers of the paper that count, with their verdicts."""
    table = pd.read_csv(REFERENCE / "tables" / "fidelity.csv")
    table = table[table["verdict"] != "not counted"]
    said = table["reason"].str.extract(r"(\d+) of (\d+) orders[^;]*?(?:, (\d+) not decided|;|$)")
    return table.join(said.astype(float).set_axis(["kept", "orders", "open"], axis=1))


def fidelity(protocol, verdict):
    """How many printed numbers have a verdict, or "any"."""
    found = judged()[judged()["protocol"] == protocol]["verdict"]
    return (found == verdict).sum() if verdict != "any" else len(found)


def orders(protocol, which):
    """How many orders of two methods are "all", as in the paper "kept" or "reversed", or "open"."""
    sums = judged()[judged()["protocol"] == protocol][["orders", "kept", "open"]].sum()
    reversed_ = sums["orders"] - sums["kept"] - sums["open"]
    return {"all": sums["orders"], "kept": sums["kept"], "open": sums["open"]}.get(which, reversed_)


def rank(protocol, measure, what):
    """A method's average rank, or the critical difference."""
    table = pd.read_csv(REFERENCE / "tables" / "average_ranks.csv")
    table = table[(table["protocol"] == protocol) & (table["measure"] == measure)]
    if what in table:
        return table[what].iloc[0]
    return table.set_index("method").loc[what, "rank"]


class Scores:
    """The number that a source of claims.csv stands for.

    A score is dataset/method/protocol/metric, the mean of its replicates, or with "#r" that of
    one; "A - B" the mean difference over the replicates of both.
    """

    def __init__(self, results):
        self.results = results

    def value(self, source):
        for words, reader in (
            ("least of ", lambda rest: min(map(self.value, rest.split(" | ")))),
            ("most of ", lambda rest: max(map(self.value, rest.split(" | ")))),
            ("above .95 of ", lambda rest: self.count(rest, lambda x: x > 0.95)),
            ("ahead in ", lambda rest: self.count(rest, lambda x: x > 0)),
            ("median not lost ", lambda rest: self.series(rest)[~self.lost(rest)].median()),
            ("lost ", lambda rest: self.lost(rest).sum()),
            ("median ", lambda rest: self.series(rest).median()),
            ("paper's length ", lambda rest: at_papers_length()[key(rest)]),
            ("paper ", lambda rest: self.results.paper(*key(rest))[0]),
            ("compared ", lambda rest: comparison(f"compared {rest}")[0][0]),
            ("verdicts ", lambda rest: fidelity(*key(rest))),
            ("orders ", lambda rest: orders(*key(rest))),
            ("rank ", lambda rest: rank(*key(rest))),
        ):
            if source.startswith(words):
                return reader(source.removeprefix(words))
        return self.series(source).mean()

    def series(self, source):
        first, minus, second = source.partition(" - ")
        if minus:
            return (self.series(first) - self.series(second)).dropna()
        score, _, replicate = first.partition("#")
        values = self.results.values[key(score)]
        return values[values.index == int(replicate)] if replicate else values

    def count(self, sources, is_one):
        return sum(is_one(self.series(source)).sum() for source in sources.split(" | "))

    def lost(self, source):
        """Whether a replicate's error is above a tenth of the training mean's."""
        dataset, _, protocol, metric = key(source)
        floor = self.results.values[dataset, "floor", protocol, metric]
        return self.series(source) > floor.mean() / 10


def key(text):
    return tuple(text.split("/"))


def parts(text):
    """Numbers of a claim, each alone or with its interval; none of a name or of code."""
    return re.findall(rf"{INTERVAL}|{BARE}", re.sub(NAMES, "", text))


def is_comparison(printed, source):
    """Whether a source has a printed interval, from either side, and the verdict that it states."""
    about, _, verdict = source.rpartition(": ")
    (mid, low, high), word = comparison(about)
    *shown, (first, first_off), (last, last_off) = numbers(printed)
    near = any(
        abs(first - left) <= first_off and abs(last - right) <= last_off
        for left, right in ((low, high), (-high, -low))
    )
    return near and word == verdict and all(abs(abs(m) - abs(mid)) <= off for m, off in shown)


def is_true(printed, source, scores):
    if source.startswith("not a score: "):
        return True
    if "[" in printed:
        return is_comparison(printed, source)
    shown, off = number(printed)
    return abs(shown - scores.value(source)) <= off


@pytest.mark.parametrize("page", PAGES)
def test_every_claim_is_on_its_page_and_is_what_its_sources_say(page, reference):
    text, scores, wrong = sentences(page), Scores(reference), []
    for claim in claims(page):
        printed, sources = parts(claim["text"]), claim["sources"].split("; ")
        if text.count(claim["text"]) != 1:
            wrong.append(f"{claim['text']!r} is {text.count(claim['text'])} times on the page")
        elif len(printed) != len(sources):
            wrong.append(f"{claim['text']!r} has {printed}, and {len(sources)} sources")
        else:
            for found, source in zip(printed, sources, strict=True):
                if not is_true(found, source, scores):
                    wrong.append(f"{claim['text']!r}: {found} is not {source}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", PAGES)
def test_no_number_of_a_sentence_is_without_a_source(page):
    text = sentences(page)
    for pattern in (*(re.escape(claim["text"]) for claim in claims(page)), *SETTINGS):
        text = re.sub(pattern, lambda found: "_" * len(found[0]), text)
    left = [text[max(0, m.start() - 60) : m.end() + 20] for m in re.finditer(BARE, text)]
    assert not left, "\n".join(left)


@pytest.mark.parametrize("page", PAGES)
def test_a_paragraph_with_an_interval_says_its_verdict(page):
    silent = []
    for text in paragraphs(page):
        for claim in (claim for claim in claims(page) if claim["text"] in text):
            for source in claim["sources"].split("; "):
                verdict = source.rpartition(": ")[2]
                if verdict in SAID and not re.search(SAID[verdict], text):
                    silent.append(f"{claim['text']!r}: {verdict}")
    assert not silent, "\n".join(silent)
