"""Results as a benchmark run would leave them, made up: for tests of artefacts and report."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import numpy as np
import pandas as pd

from anchorbench.reporting.results import RUNS, SCORES, Results
from anchorbench.study.plugins import kind_of

METHODS = {
    "sparse_vae": "Sparse VAE",
    "vae": "VAE",
    "beta_vae": "β-VAE",
    "oi_vae": "OI-VAE",
    "vsc": "VSC",
    "nmf": "NMF",
    "floor": "Floor (training mean)",
    "oracle": "Oracle (true factors)",
}
CONTROLS = ("floor", "oracle")
METRICS = {
    "mse": {"label": "MSE", "direction": "min", "range": [0, None]},
    "recon_nll": {"label": "NLL", "direction": "min", "range": [0, None]},
    "elbo": {"label": "ELBO", "direction": "max", "range": [None, None]},
    "dci": {
        "label": "DCI",
        "direction": "max",
        "range": [0, 1],
        "values": {"dci": "DCI", "dci_completeness": "DCI completeness"},
    },
    "mcc": {"label": "MCC", "direction": "max", "range": [0, 1], "needs": ["factors"]},
    "support_f1": {"label": "Support F1", "direction": "max", "range": [0, 1]},
    "recall_nofold": {
        "label": "Recall",
        "direction": "max",
        "range": [0, 1],
        "values": {"recall_nofold@5": "Recall@5, no fold-in"},
    },
    "cell_type_accuracy": {"label": "Cell type accuracy", "direction": "max", "range": [0, 1]},
}
LEVEL = {"sparse_vae": 0.0, "vae": 0.3, "beta_vae": 0.4, "oi_vae": 0.8, "vsc": 0.6, "nmf": 0.9}
LEVEL |= {"floor": 1.5, "oracle": -0.2}
PROTOCOLS = ("published", "corrected")
QUIRKS = {
    "quirk_kl": ("kl_reduction", "mean", "sum", 1.5),
    "quirk_scale": ("scale_fix", False, True, -0.05),
    "quirk_prior": ("prior_scale", "batch", "rows", 0.0),
}


def instance(plugin, setting="", likelihood="gaussian", **more):
    """One dataset as the manifest describes it."""
    about = {"plugin": plugin, "setting": setting, "label": plugin.replace("_", " ").title()}
    features = {"peerread": 500, "peerread_shift": 500, "movielens": 300}.get(plugin, 7)
    about |= {"likelihood": likelihood, "n_rows": 1000, "n_features": features, "n_latent": 5}
    return about | more


def paper_datasets():
    """The instances of the paper's configuration, on the data at hand."""
    found = {f"synthetic_rho{r}": instance("synthetic", f"rho{r}") for r in (0, 0.4, 0.8)}
    found["peerread"] = instance(
        "peerread", likelihood="multinomial", n_rows=11_777, tokens_per_row=45.85, label="PeerRead"
    )
    for setting in ("high", "medium", "low"):
        found[f"peerread_shift_{setting}"] = instance(
            "peerread_shift", setting, "multinomial", n_rows=11_700, tokens_per_row=15.0
        )
    found["movielens"] = instance(
        "movielens", likelihood="multinomial", n_rows=8762, tokens_per_row=37.3, label="MovieLens"
    )
    found["zeisel"] = instance("zeisel", n_rows=753, label="Zeisel")
    return found


def demo_datasets():
    """The instances of a small configuration without real data."""
    found = {f"synthetic_rho{r}": instance("synthetic", f"rho{r}") for r in (0, 0.8)}
    found["simulated_counts"] = instance(
        "simulated_counts", likelihood="multinomial", tokens_per_row=40.0, label="Simulated counts"
    )
    return found


def values_of(dataset, about, method, protocol, replicate, rng):
    """Made-up scores of one run: plausible levels, the sparse VAE ahead, VSC far off at times."""
    level = LEVEL.get(method, 0.5) + (0.05 if protocol == "corrected" else 0)
    shared = np.random.default_rng([replicate, len(dataset)]).normal()
    noise = 0.05 * rng.normal() + 0.05 * shared
    if about["plugin"] == "synthetic":
        rho = float(about["setting"][3:])
        mse = 0.4 * np.exp(level + noise) * (1 + rng.lognormal(1, 3) if method == "vsc" else 1)
        dci = np.clip(0.95 - 0.5 * level - 0.5 * rho**2 + noise, 0, 1)
        f1 = {"support_f1": np.clip(0.85 - 0.3 * rho + noise, 0, 1)}
        sparse = method in ("oi_vae", "oracle") or "sparse" in method or "quirk" in method
        return {"mse": mse, "dci": dci, "dci_completeness": dci, "mcc": 1 - level / 3 + noise} | (
            f1 if sparse else {}
        )
    if about["plugin"] == "zeisel":
        accuracy = np.clip(0.95 - 0.1 * level + noise / 10, 0, 1)
        return {"cell_type_accuracy": accuracy, "mse": 0.4 * np.exp(level + noise)}
    base = {"peerread": 240.0, "movielens": 171.0, "simulated_counts": 150.0}
    nll = base.get(about["plugin"], 50.0) * (1 + 0.1 * level) + 2 * noise
    ranking = {"recall_nofold@5": np.clip(0.98 - 0.3 * level + noise / 10, 0, 1)}
    return {"recon_nll": nll, "elbo": -nll - 5} | (
        ranking if about["plugin"] == "movielens" else {}
    )


def fake(datasets=None, methods=METHODS, replicates=5, failures=(), quirks=True, everything=False):
    """Return made-up results.

    failures : (dataset, method, protocol, replicate, status, reason), each a run that did not end
    well; everything : let every run fail.
    """
    datasets = paper_datasets() if datasets is None else datasets
    labels = dict(methods)
    if quirks:
        labels |= {name: name for name in (*QUIRKS, "sparse_vae_weak")}
    lost = {tuple(f[:4]): tuple(f[4:]) for f in failures}
    scores, runs, settings = [], [], []
    for dataset, about in datasets.items():
        for number, method in enumerate(labels):
            if not fits(method, about):
                continue
            for protocol in ("published",) if method in QUIRKS else PROTOCOLS:
                cell = {"dataset": dataset, "method": method, "protocol": protocol}
                settings.append({**cell, "params": params_of(method, protocol)})
                for replicate in range(replicates):
                    rng = np.random.default_rng([len(dataset), number, len(protocol), replicate])
                    where = {**cell, "replicate": replicate}
                    status, reason = lost.get(tuple(where.values()), ("done", ""))
                    if everything:
                        status, reason = "failed", "ValueError: made to fail <here> & now"
                    seconds = 10 * (1 + number) + rng.random()
                    run = {**where, "seed": 1, "status": status, "reason": reason}
                    run |= {"seconds": seconds, "peak_mb": 300 + number, "device": "cpu"}
                    digest = hashlib.sha256(" ".join(map(str, where.values())).encode()).hexdigest()
                    runs.append(run | {"n_parameters": 1000 * (number + 1), "digest": digest[:12]})
                    if status == "done":
                        found = values_of(dataset, about, method, protocol, replicate, rng)
                        if method in QUIRKS:
                            found = values_of(
                                dataset, about, "sparse_vae", protocol, replicate, rng
                            )
                            shift = QUIRKS[method][3]
                            found = {
                                k: v * np.exp(shift if k == "mse" else -shift / 5)
                                for k, v in found.items()
                            }
                        scores += [{**where, "metric": k, "value": v} for k, v in found.items()]
    described = {name: describe(name, label) for name, label in labels.items()}
    manifest = {
        "datasets": datasets,
        "methods": described,
        "metrics": METRICS,
        "settings": settings,
        "metric_failures": [],
        "sources": {"peerread": {"url": "https://example.org/p.zip", "sha256": "ab" * 32}},
        "versions": {"numpy": "2.0", "torch": "2.1"},
        "git_commit": "0123456789abcdef",
        "config": {"seed": 0},
    }
    return Results(pd.DataFrame(scores, columns=SCORES), pd.DataFrame(runs, columns=RUNS), manifest)


def fits(method, about):
    """Whether a made-up method was run on a dataset."""
    if method in QUIRKS:
        return about["plugin"] in ("synthetic", "peerread")
    if method == "sparse_vae_weak":
        return about["plugin"] == "synthetic"
    if method == "nmf":
        return about["plugin"] != "synthetic"
    return method != "oracle" or about["plugin"] in ("synthetic", "simulated_counts")


def describe(name, label):
    """A method as the manifest describes it."""
    about = {"label": label, "plugin": name, "control": name in CONTROLS, "cite": "", "quirk": None}
    if name in QUIRKS:
        parameter, _, value, _ = QUIRKS[name]
        quirk = {"from": "published", "parameter": parameter, "value": value}
        about |= {"plugin": "sparse_vae", "quirk": quirk}
    if name == "sparse_vae_weak":
        about |= {"plugin": "sparse_vae", "label": "Sparse VAE, λ₀ = λ₁ = 0.001"}
    return about


def params_of(method, protocol):
    """Made-up parameters; the sparse VAE has those that quirks switch."""
    params = {"n_hidden": 50, "epochs": 200, "learning_rate": 0.01, "batch_size": 100}
    if method.startswith(("sparse_vae", "quirk")):
        params |= {"lambda0": 10.0, "lambda1": 1.0, "kl_reduction": "mean"}
        params |= {"scale_fix": protocol == "corrected", "prior_scale": "batch"}
    if method == "sparse_vae_weak":
        params |= {"lambda0": 0.001, "lambda1": 0.001}
    return params


def fake_runs(results, dataset, n_factors=3, n_features=12, n_rows=40):
    """Return made-up Run objects of replicate 0 and 1 of a dataset, for `extract`."""
    rng = np.random.default_rng(0)
    about = results.datasets[dataset]
    runs = []
    cells = results.runs[(results.runs["dataset"] == dataset) & (results.runs["replicate"] < 2)]
    for row in cells[cells["status"] == "done"].itertuples():
        truth = rng.normal(size=(n_rows, 2))
        codes = np.column_stack([-truth[:, 1], truth[:, 0], rng.normal(size=(n_rows, 3))])
        loadings = rng.normal(size=(n_features, n_factors)) * [3.0, 1.0, 0.0][:n_factors]
        kinds = np.array(["neuron", "glia", "vessel"])[rng.integers(0, 3, n_rows)]
        synthetic = about["plugin"] == "synthetic"
        if synthetic:
            loadings = rng.normal(size=(7, 5))
        runs.append(
            SimpleNamespace(
                record={
                    "dataset": dataset,
                    "dataset_plugin": about["plugin"],
                    "method": row.method,
                    "protocol": row.protocol,
                    "replicate": row.replicate,
                },
                codes=codes + 0.2 * rng.normal(size=codes.shape),
                codes_train=codes,
                train=truth @ np.ones((2, 7)) + rng.normal(size=(n_rows, 7)),
                model=SimpleNamespace(inverse_transform=lambda z: z @ np.eye(5, 7)),
                loadings=None if row.method in ("vae", "floor") else loadings,
                truth=SimpleNamespace(
                    index=(np.arange(n_rows), np.arange(n_rows, 2 * n_rows)),
                    factors=(truth, truth) if synthetic else None,
                    support=np.arange(14).reshape(7, 2) % 3 > 0 if synthetic else None,
                ),
                labels={"level1": (kinds, kinds)} if about["plugin"] == "zeisel" else None,
                features=[f"feature {j}" for j in range(n_features)],
                likelihood=about["likelihood"],
                kind=kind_of(about["likelihood"]),
            )
        )
    return runs
