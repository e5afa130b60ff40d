"""Every cell of every table in the reference run's pages is that of its scores."""

import re

from prose import PAGES, at_papers_length, numbers, page, tables

# By page and words in the header of a table: of the row's label and of each column, what their
# numbers are, in their order. dataset/protocol/metric is the mean, with "centre:" the mean or the
# median, with "@r" a replicate; "converged:" a share of runs; "scaled:" the likelihood at the
# paper's document length; "paper:" what the paper prints; "" a number that is not of these scores.
# "*" stands for the protocol that the row's label names.
LONG, SHORT = "synthetic_long_rho{}/corrected/{}", "synthetic_rho{}/corrected/{}"
SETS = ("spi", "bfi", "adjectives", "ability", "holzinger", "epi")
LEVELS = ("high", "medium", "low")
TABLES = {
    ("findings", "| ρ = .4 | ρ = .8 | DCI"): (
        ["converged:synthetic_long_rho0.0/corrected"],
        *(LONG.format(rho, "mcc") for rho in ("0.0", "0.4", "0.8")),
        *(LONG.format(rho, "dci") for rho in ("0.0", "0.8")),
        *("centre:" + LONG.format(rho, "mse") for rho in ("0.0", "0.8")),
    ),
    ("findings", "| .2 | .4 | .6 | .8 | DCI"): (
        [],
        *(SHORT.format(rho, "mcc") for rho in ("0.0", "0.2", "0.4", "0.6", "0.8")),
        *(SHORT.format(rho, "dci") for rho in ("0.0", "0.4", "0.8")),
        *("centre:" + SHORT.format(rho, "mse") for rho in ("0.0", "0.4", "0.8")),
    ),
    ("findings", "| theory, default | tuned"): (
        [],
        *(
            f"synthetic_tuned_rho{rho}/{protocol}/mcc"
            for rho in ("0.0", "0.4", "0.8")
            for protocol in ("corrected", "tuned")
        ),
        *(f"theory_tuned/{protocol}/mcc" for protocol in ("corrected", "tuned")),
    ),
    ("findings", "| Holzinger, default | tuned"): (
        [],
        *(
            f"questionnaire_{name}/{protocol}/key_accuracy"
            for name in ("holzinger", "ability", "bfi")
            for protocol in ("corrected", "tuned")
        ),
    ),
    ("findings", "| perplexity | given half"): (
        ["converged:peerread_long/corrected"],
        *(
            f"peerread_long/corrected/{metric}"
            for metric in ("perplexity", "completion_perplexity", "elbo", "active_factors", "npmi")
        ),
        "peerread_long/corrected/code_stability",
    ),
    ("findings", "| MSE, 100 epochs of 512"): (
        [],
        *("zeisel/corrected/mse", "zeisel_long/corrected/mse"),
        "zeisel_long/corrected/cell_type_accuracy",
    ),
    ("findings", "| SPI (27 scales)"): (
        [],
        *(
            [f"questionnaire_{name}/corrected/{m}" for m in ("key_accuracy", "code_stability")]
            for name in SETS
        ),
    ),
    ("findings", "| SPI | 500 people"): (
        [],
        *(f"keys_by_n_spi_n{n}/corrected/key_accuracy" for n in (500, 1000, 2000)),
        "questionnaire_spi/corrected/key_accuracy",
        *(f"keys_by_n_spi_k{k}/corrected/key_accuracy" for k in (21, 36)),
    ),
    ("findings", "| anchors | 0"): (
        [],
        *(f"theory_{c}/corrected/mcc" for c in ("anchors_0", "anchors_1", "base", "anchors_3")),
    ),
    ("findings", "| rows | 250"): (
        [],
        *(
            f"theory_{cell}/corrected/mcc"
            for cell in ("n_250", "n_1000", "base", "n_4000", "n_16000", "n_64000")
        ),
    ),
    ("findings", "| rows, 20,000 steps"): (
        [],
        *(f"theory_long_n_{n}/corrected/mcc" for n in (250, 1000, 4000, 16000, 64000)),
    ),
    ("findings", "| ρ | 0 | .3"): (
        [],
        *(
            f"theory_{cell}/corrected/mcc"
            for cell in ("rho_0.0", "base", "rho_0.6", "rho_0.8", "rho_0.95")
        ),
    ),
    ("findings", "| perplexity, row seen"): (
        ["", ""],
        *("peerread/*/perplexity", "peerread/*/completion_perplexity", "peerread/*/elbo"),
        *(["peerread/*/active_factors", ""], "peerread/*/npmi", "peerread/*/seed_stability"),
    ),
    ("findings", "| high | medium | low"): (
        [],
        *(
            [f"peerread_shift_{level}/corrected/{m}" for m in ("recon_nll", "completion_nll")]
            for level in LEVELS
        ),
    ),
    ("README", "| paper's generator"): (
        [],
        *(LONG.format(rho, "mcc") for rho in ("0.0", "0.8")),
        *(f"theory_{cell}/corrected/mcc" for cell in ("base", "rho_0.8")),
        *(f"questionnaire_{name}/corrected/key_accuracy" for name in ("spi", "holzinger")),
    ),
    ("reproduction", "| high | medium | low"): (
        [],
        *(
            [f"scaled:peerread_shift_{level}", f"paper:peerread_shift_{level}/recon_nll"]
            for level in LEVELS
        ),
    ),
    ("reproduction", "| fold | 0"): (
        [],
        *(f"peerread/published/perplexity@{fold}" for fold in range(5)),
        *("peerread/published/perplexity", "paper:peerread/perplexity"),
    ),
}
RECOVERED, ANCHORS = 0.95, "| 250 rows | 1,000"
NAMES = {
    "VAE, codes rotated afterwards": "vae_rotated",
    "Sparse VAE, learned correlation": "sparse_vae_correlated",
    "Sparse VAE, learned correlation of factors": "sparse_vae_correlated",
    "Sparse VAE, varimax start, learned correlation": "sparse_vae_varimax_start_correlated",
    "VAE, learned correlation": "vae_correlated",
    "LOVE, equal anchors": "love",
    "β-VAE (2)": "beta_vae",
    "DIP-VAE": "dip_vae",
    "Linear-decoder VAE": "ldvae",
    "Sparse linear-decoder VAE": "sparse_ldvae",
    "Truth": "oracle",
    "Unigram": "floor",
    "Floor (unigram)": "floor",
}


def known(results, key, method, protocol):
    """What a column says of a method: one or two numbers, either of which may be printed."""
    kind, _, rest = key.rpartition(":")
    if kind == "paper":
        dataset, metric = rest.split("/")
        return [results.paper(dataset, method, metric)[0]]
    if kind == "scaled":
        return [at_papers_length()[rest, method, "published", "recon_nll"]]
    dataset, asked, *metric = rest.split("/")
    protocol = protocol if asked == "*" else asked
    if kind == "converged":
        runs = results.runs
        of = runs[(runs["dataset"] == dataset) & (runs["method"] == method)]
        return [(of[of["protocol"] == protocol]["converged"] == "yes").mean()]
    name, _, replicate = metric[0].partition("@")
    values = results.values[dataset, method, protocol, name]
    if replicate:
        return [values[int(replicate)]]
    return [values.mean(), *([values.median()] if kind == "centre" else [])]


def wrong_in(results, method, texts, specified):
    """What a row says that the scores do not; `specified`: the keys of label and columns."""
    label = texts[0]
    protocol = next((p for p in results.protocols if f"`{p}`" in label), "published")
    for text, keys in zip(texts, specified, strict=True):
        printed = numbers(text) if keys else []
        for (number, off), key in zip(
            printed, [keys] if isinstance(keys, str) else keys, strict=False
        ):
            values = known(results, key, method, protocol) if key else [number]
            if not any(abs(number - value) <= off for value in values):
                yield f"{label}: {text}: {key} is {values}"


def test_every_number_of_a_table_is_that_of_the_scores(reference):
    by_label = {label: name for name, label in reference.labels.items()} | NAMES
    wrong, seen = [], set()
    for name in PAGES:
        for head, rows in tables(page(name)):
            if ANCHORS in head:  # of a plane: a test of its own
                continue
            (which,) = (key for key in TABLES if key[0] == name and key[1] in head)
            seen.add(which)
            for texts in rows:
                method = by_label[re.sub(r", `\w+`| \[.*\]", "", texts[0])]
                wrong += wrong_in(reference, method, texts, TABLES[which])
    assert not wrong, "\n".join(wrong)
    assert seen == set(TABLES)


def test_recovered_draws_of_the_plane_are_those_of_the_scores(reference):
    ((head, rows),) = (table for table in tables(page("findings")) if ANCHORS in table[0])
    sizes = [int(n) for n, _ in numbers(head)]
    assert len(rows) == 5 and len(sizes) == 5
    for anchors, (_, *line) in enumerate(rows):
        for n, printed in zip(sizes, line, strict=True):
            cell = f"theory_plane_n_{n}_anchors_{anchors}"
            values = reference.values[cell, "sparse_vae_correlated", "corrected", "mcc"]
            assert int(printed) == (values > RECOVERED).sum(), cell
