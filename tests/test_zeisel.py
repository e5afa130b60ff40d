"""Zeisel: the official layout, the noise curve, quantile normalisation and what is fitted where."""

import gzip

import numpy as np
import pytest
import scipy.sparse as sp
import yaml

from anchorbench.data.dataset import DataError, Dataset, kfold, validate
from anchorbench.data.quantiles import reference_quantiles, to_quantiles
from anchorbench.runs.prepare import Replicates, make
from anchorbench.runs.store import Store
from anchorbench.study import config, plan
from anchorbench.study.plugins import discover, load

zeisel = load(discover("datasets")["zeisel"])

SMALL = {"n_noisy": 40, "n_genes": 12, "min_correlated": 2}


def counts(n_cells=60, n_genes=90, seed=0):
    """Three programmes of the cells drive a third of the genes each."""
    rng = np.random.default_rng(seed)
    programme = rng.gamma(1.0, 1.0, (n_cells, 3))
    mean = programme[:, np.arange(n_genes) % 3] * rng.uniform(0.5, 20, n_genes)
    return rng.poisson(mean)


def official_text(Y, blank="\t" * 3, drop=None):
    n_cells = len(Y)
    fields = {
        "tissue": ["sscortex"] * n_cells,
        "group #": [str(i % 3 + 1) for i in range(n_cells)],
        "total mRNA mol": [str(v) for v in Y.sum(axis=1)],
        "well": ["11"] * n_cells,
        "sex": ["-1"] * n_cells,
        "age": ["21"] * n_cells,
        "diameter": ["9.56"] * n_cells,
        "cell_id": [f"1772071015_C{i:02d}" for i in range(n_cells)],
        "level1class": [
            ("interneurons", "microglia", "pyramidal CA1")[i % 3] for i in range(n_cells)
        ],
        "level2class": [("Int10", "Mgl1", "(none)")[i % 3] for i in range(n_cells)],
    }
    lines = ["\t".join(["", name, *values]) for name, values in fields.items() if name != drop]
    genes = [
        "\t".join([f"Gene{j}", "1", *(str(v) for v in column)]) for j, column in enumerate(Y.T)
    ]
    return "\n".join([*lines, blank, *genes]) + "\n"


def write(path, text):
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


# ---- quantile normalisation


def test_ties_as_in_preprocesscore():
    # The worked example of R: columns there, rows here. The tied 4s of the second sample hold
    # ranks 3 and 4 and get half the sum of the last two references.
    X = np.array([[5, 2, 3, 4], [4, 1, 4, 2], [3, 4, 6, 8]], dtype=float)
    reference = reference_quantiles(X)
    assert np.allclose(reference, [2, 3, 14 / 3, 17 / 3])
    assert np.allclose(
        to_quantiles(X, reference),
        [[17 / 3, 2, 3, 14 / 3], [31 / 6, 2, 31 / 6, 3], [2, 3, 14 / 3, 17 / 3]],
    )


def test_long_ties_take_the_middle_not_the_mean():
    reference = np.array([0.0, 1.0, 5.0, 100.0, 1000.0])
    # Three tied at ranks 1-3: rank 2. Four tied at ranks 2-5: rank 3.5. All five: rank 3.
    X = np.array([[7, 7, 7, 8, 9], [3, 4, 4, 4, 4], [6, 6, 6, 6, 6]], dtype=float)
    assert to_quantiles(X, reference).tolist() == [
        [1.0, 1.0, 1.0, 100.0, 1000.0],
        [0.0, 52.5, 52.5, 52.5, 52.5],
        [5.0, 5.0, 5.0, 5.0, 5.0],
    ]


def test_without_ties_all_rows_get_the_same_values_in_their_own_order():
    X = np.random.default_rng(0).normal(size=(7, 50)) * np.arange(1, 8)[:, None]
    normalised = to_quantiles(X, reference_quantiles(X))
    assert np.allclose(np.sort(normalised, axis=1), reference_quantiles(X))
    assert np.array_equal(np.argsort(normalised, axis=1), np.argsort(X, axis=1))
    # Ranks are all that counts: a monotone change of one row changes no row that is mapped.
    assert np.array_equal(to_quantiles(np.exp(X), reference_quantiles(X)), normalised)


def test_rows_of_another_width_are_refused():
    with pytest.raises(ValueError, match="rows of 4 values, but 3 reference"):
        to_quantiles(np.ones((2, 4)), np.ones(3))


# ---- gene choice


def test_correlations_against_the_full_matrix(monkeypatch):
    Y = counts().astype(float)
    Y[:, 4] = 3.0
    full = np.corrcoef(np.delete(Y, 4, axis=1).T)
    naive = (full > 0.2091).sum(axis=0) - 1
    for block in (7, 89, 1000):
        monkeypatch.setattr(zeisel, "BLOCK_GENES", block)
        found = zeisel.correlated_genes(Y, 0.2091)
        assert found[4] == 0
        assert np.array_equal(np.delete(found, 4), naive)


def test_noise_curve_is_recovered_and_ignores_outliers():
    rng = np.random.default_rng(1)
    mean = np.exp(rng.uniform(-4, 4, 3000))
    cv = mean**-0.56 + 0.61
    assert np.allclose(zeisel.fit_noise(mean, cv), (-0.56, 0.61), atol=1e-4)
    lifted = cv * np.where(rng.random(3000) < 0.25, 8, 1)
    assert np.allclose(zeisel.fit_noise(mean, lifted), (-0.56, 0.61), atol=1e-3)


def test_height_above_the_curve_ranks_planted_genes_first():
    rng = np.random.default_rng(2)
    Y = rng.poisson(rng.uniform(1, 30, 200), (500, 200)).astype(float)
    Y[:, :9] *= rng.binomial(1, 0.2, (500, 9)) * 5
    assert set(np.argsort(-zeisel.noise_distance(Y))[:9]) == set(range(9))


def test_thresholds_are_those_of_the_released_code():
    rng = np.random.default_rng(3)
    base, other, third = (rng.permutation(np.arange(40) // 8) for _ in range(3))
    # Six genes of one pattern have five related others each; five genes have four.
    rare = 3 * (third == 4)
    Y = np.stack([base] * 6 + [other] * 5 + [third] * 5 + [rare], axis=1)
    related = np.corrcoef([base, other, third, rare])
    assert (related > 0.2091).sum() == 4 + 2  # the third pattern and its rare gene
    # 24 molecules: the rare gene is dropped first, and its pattern then has but five genes.
    assert rare.sum() == 24
    kept = zeisel.fit(sp.csr_matrix(Y), n_noisy=20, n_genes=6)
    assert sorted(kept.genes) == [0, 1, 2, 3, 4, 5]
    with pytest.raises(DataError, match="6 genes pass the filters, n_genes is 7"):
        zeisel.fit(sp.csr_matrix(Y), n_genes=7)
    Y[np.flatnonzero(rare)[0], 16] += 1
    kept = zeisel.fit(sp.csr_matrix(Y), n_noisy=20, n_genes=12)
    assert sorted(kept.genes) == [0, 1, 2, 3, 4, 5, 11, 12, 13, 14, 15, 16]


def test_genes_come_by_falling_standard_deviation(tmp_path):
    path = write(tmp_path / "z.txt", official_text(counts()))
    dataset = zeisel.prepare({"zeisel": path}, **SMALL)
    spread = dataset.X.std(axis=0)
    assert dataset.X.shape == (60, 12)
    assert (np.diff(spread) <= 0).all()
    Y = counts()
    kept = zeisel.fit(sp.csr_matrix(Y), **SMALL)
    wide = to_quantiles(Y[:, kept.noisy].astype(float), kept.reference)
    assert np.allclose(np.sort(wide.std(axis=0))[:-13:-1], spread)
    assert dataset.features == [f"Gene{j}" for j in kept.genes]


# ---- what is fitted where


def test_training_cells_alone_decide_when_corrected(tmp_path):
    Y = counts()
    before = zeisel.prepare({"zeisel": write(tmp_path / "a.txt", official_text(Y))}, "train")
    first = zeisel.split(before, 2, 0, "train", **SMALL)
    assert first.train.shape[1] == first.test.shape[1] == len(first.features) == 12
    assert len(first.train) + len(first.test) == 60
    train, test = first.index
    assert np.array_equal(train, kfold(Dataset(Y.astype(float), []), 2).index[0])
    changed = Y.copy()
    changed[test] = np.random.default_rng(9).permutation(changed[test], axis=1)
    text = official_text(changed)
    after = zeisel.prepare({"zeisel": write(tmp_path / "b.txt", text)}, "train")
    second = zeisel.split(after, 2, 0, "train", **SMALL)
    assert second.features == first.features
    assert np.array_equal(second.train, first.train)
    assert not np.array_equal(second.test, first.test)
    whole = [
        zeisel.prepare({"zeisel": tmp_path / f"{name}.txt"}, "all", **SMALL).X[train]
        for name in "ab"
    ]
    assert not np.array_equal(*whole)


def test_test_cells_are_mapped_onto_the_training_reference(tmp_path):
    Y = counts()
    dataset = zeisel.prepare({"zeisel": write(tmp_path / "z.txt", official_text(Y))}, "train")
    split = zeisel.split(dataset, 0, 0, "train", **SMALL)
    train, test = split.index
    kept = zeisel.fit(sp.csr_matrix(Y[train]), **SMALL)
    column = kept.noisy.tolist().index(kept.genes[0])
    for cell, value in zip(Y[test][:, kept.noisy], split.test[:, 0], strict=True):
        order = np.sort(cell)
        ranks = np.flatnonzero(order == cell[column])
        middle = (ranks[0] + ranks[-1]) / 2
        lower, upper = kept.reference[int(middle)], kept.reference[int(np.ceil(middle))]
        assert np.isclose(value, (lower + upper) / 2)


def test_published_split_is_the_plain_one(tmp_path):
    path = write(tmp_path / "z.txt", official_text(counts()))
    dataset = zeisel.prepare({"zeisel": path}, **SMALL)
    ours, plain = zeisel.split(dataset, 1, 5, **SMALL), kfold(dataset, 1)
    assert np.array_equal(ours.train, plain.train)
    assert np.array_equal(ours.test, plain.test)
    with pytest.raises(DataError, match="fit_on is 'test'"):
        zeisel.prepare({"zeisel": path}, "test")


def test_published_trains_on_all_cells_and_tests_on_a_fold(tmp_path):
    path = write(tmp_path / "z.txt", official_text(counts()))
    params = zeisel.DATASET["protocols"]["published"]
    dataset = zeisel.prepare({"zeisel": path}, "all", **SMALL)
    ours, plain = zeisel.split(dataset, 3, 0, **params, **SMALL), kfold(dataset, 3)
    assert np.array_equal(ours.train, dataset.X)
    assert np.array_equal(ours.test, plain.test)
    rows, held_out = ours.index
    assert np.array_equal(rows, np.arange(len(dataset.X)))
    assert np.array_equal(held_out, plain.index[1])
    with pytest.raises(DataError, match="fit_on 'train' with train_on 'all'"):
        zeisel.split(dataset, 3, 0, "train", "all", **SMALL)


def test_both_protocols_go_from_the_file_to_a_replicate_through_the_plan(tmp_path):
    path = write(tmp_path / "z.txt", official_text(counts()))
    settings = {
        "sources": {"zeisel": {"url": str(path)}},
        "datasets": {"synthetic": False, "simulated_counts": False, "zeisel": {"params": SMALL}},
    }
    file = write(tmp_path / "config.yaml", yaml.safe_dump(settings))
    store = Store(tmp_path / "store")
    rows = {}
    for (_, tag), instance in plan.make(config.load([file])).instances.items():
        make(instance, store)
        replicates = Replicates(instance, store)
        split = replicates.split(0, 1)
        assert replicates.split(0, 1) is split
        rows[tag] = len(split.train), len(split.test), split.train.shape[1]
    n_test = len(kfold(Dataset(np.zeros((60, 1)), ["cell"]), 0).test)
    assert rows == {"published": (60, n_test, 12), "corrected": (60 - n_test, n_test, 12)}


# ---- the file


def test_official_layout_plain_and_gzipped(tmp_path):
    Y = counts()
    Y[:, 7] = 0
    for name in ("z.txt", "z.txt.gz"):
        dataset = zeisel.prepare({"zeisel": write(tmp_path / name, official_text(Y))}, "train")
        assert np.array_equal(dataset.X.toarray(), np.delete(Y, 7, axis=1))
        assert dataset.features == [f"Gene{j}" for j in range(90) if j != 7]
        assert dataset.labels["level1"][:3].tolist() == [
            "interneurons",
            "microglia",
            "pyramidal CA1",
        ]
        assert dataset.labels["level2"][:3].tolist() == ["Int10", "Mgl1", "(none)"]
        assert dataset.arrays["cell_id"][1] == "1772071015_C01"
        validate(dataset, "real", name)


def test_broken_files_are_explained(tmp_path):
    Y = counts()
    text = official_text(Y)
    gene3 = next(line for line in text.splitlines() if line.startswith("Gene3\t"))
    last = gene3.rsplit("\t", 1)[0]
    bad = {
        "short row": (text.replace(gene3, last), r"line 15 \('Gene3'\).*60 counts"),
        "not a number": (text.replace(gene3, last + "\tx"), r"line 15 \('Gene3'\)"),
        "negative": (text.replace(gene3, last + "\t-4"), r"line 15 \('Gene3'\)"),
        "no blank row": (official_text(Y, blank="Gene\t1\t2"), "then a blank row"),
        "no classes": (official_text(Y, drop="level1class"), "missing level1class"),
        "no genes": ("\n".join(text.splitlines()[:11]) + "\n", "holds no genes"),
        "empty": ("", "official layout.*missing cell_id, level1class, level2class"),
    }
    for what, (content, message) in bad.items():
        path = write(tmp_path / f"{what}.txt", content)
        with pytest.raises(DataError, match=message) as error:
            zeisel.prepare({"zeisel": path})
        assert path.name in str(error.value)
    cut = tmp_path / "cut.txt.gz"
    cut.write_bytes(gzip.compress(text.encode())[:-500])
    with pytest.raises(DataError, match=r"cut\.txt\.gz cannot be read.*fetch it again"):
        zeisel.prepare({"zeisel": cut})


def test_facts_of_753_cells(real_sources, monkeypatch):
    seen = {}
    related, noise = zeisel.correlated_genes, zeisel.fit_noise
    monkeypatch.setattr(
        zeisel,
        "correlated_genes",
        lambda Y, threshold: seen.setdefault("related", related(Y, threshold)),
    )
    monkeypatch.setattr(
        zeisel, "fit_noise", lambda mean, cv: seen.setdefault("noise", noise(mean, cv))
    )
    dataset = zeisel.prepare({"zeisel": real_sources["zeisel"]})
    assert len(seen["related"]) == 13061
    assert (seen["related"] >= 5).sum() == 12669
    assert np.allclose(seen["noise"], (-0.54, 0.62), atol=0.005)
    assert dataset.X.shape == (753, 558)
    assert dataset.features[:6] == ["Plp1", "Malat1", "Cst3", "Meg3", "Calm1", "Npy"]
    assert len(set(dataset.labels["level1"])) == 7
    assert len(set(dataset.labels["level2"])) == 42
    validate(dataset, "real", "zeisel")
