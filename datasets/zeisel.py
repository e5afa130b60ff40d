"""Zeisel: RNA molecule counts of mouse cortex and hippocampus cells.

Reads the official text file, plain or gzipped. Preprocessing is that of Moran et al. (2022), who
follow Zeisel et al. (2015) and Lopez et al. (2018): genes with too few molecules or too few
correlated genes are dropped; the genes that lie highest above the fitted noise curve are kept;
cells are quantile normalised; the genes with the largest standard deviation are kept. Values are
not standardised, as in the released code.

With ``fit_on="all"`` (published) all cells take part in these choices. With ``fit_on="train"``
(corrected) every choice and the reference quantiles come from the training cells of each split.

With ``train_on="all"`` (published) a method is trained on all cells, those of the fold that is its
test set included, as in the released code: what it says of test cells is then transductive.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
import scipy.sparse as sp
from scipy.optimize import minimize

from anchorbench.data.dataset import DataError, Dataset, Split, dense, kfold
from anchorbench.data.quantiles import reference_quantiles, to_quantiles
from anchorbench.data.text_tables import text_file

DATASET = {
    "label": "Zeisel",
    "likelihood": "gaussian",
    "sources": ["zeisel"],
    "replicates": 5,
    "resampling": "folds",
    "headline": {"published": "cell_type_accuracy", "corrected": "cell_type_accuracy_cv"},
    "params": {
        "fit_on": "all",
        "train_on": "rest",
        "min_molecules": 25,
        "min_correlated": 5,  # genes, besides the gene itself
        "correlation": 0.2091,
        "n_noisy": 5000,
        "n_genes": 558,
    },
    "provides": ["labels"],
    "class_name": "Cell type",
    "protocols": {
        "published": {"fit_on": "all", "train_on": "all"},
        "corrected": {"fit_on": "train", "train_on": "rest"},
    },
    "terms": "No explicit licence found: cite the article, do not redistribute the file.",
    "cite": "Zeisel et al. (2015), Cell types in the mouse cortex and hippocampus revealed by "
    "single-cell RNA-seq, Science 347(6226), doi:10.1126/science.aaa1934",
}

HEADER_ROWS = 10
LABELS = {"level1": "level1class", "level2": "level2class"}
BLOCK_GENES = 2000


class Normaliser(NamedTuple):
    """What preprocessing learns from cells: the gene ranking, reference quantiles and choice.

    noisy: columns of the counts, highest above the noise curve first; reference: (len(noisy),)
    quantiles; chosen: positions in `noisy`, largest standard deviation first.
    """

    noisy: np.ndarray
    reference: np.ndarray
    chosen: np.ndarray

    def __call__(self, counts: sp.csr_matrix) -> np.ndarray:
        """Normalised values (cells, chosen genes) of counts (cells, all genes)."""
        return to_quantiles(dense(counts[:, self.noisy]), self.reference)[:, self.chosen]

    @property
    def genes(self) -> np.ndarray:
        """Columns of the counts that are kept."""
        return self.noisy[self.chosen]


def prepare(
    raw: dict[str, Path], fit_on: str = "all", train_on: str = "rest", **rules: Any
) -> Dataset:
    """Return normalised cells by genes, or the counts of all genes where `split` normalises.

    `train_on` matters to `split` alone.

    Labels are `level1` (7 types) and `level2`; `arrays` holds the `cell_id` of each row. Raises
    DataError for a file that is not in the official layout.
    """
    counts, genes, header = _read(raw["zeisel"])
    labels = {name: header[field] for name, field in LABELS.items()}
    arrays = {"cell_id": header["cell_id"]}
    if fit_on == "all":
        normalise = fit(counts, **rules)
        return Dataset(normalise(counts), genes[normalise.genes].tolist(), labels, arrays)
    if fit_on != "train":
        raise DataError(f"zeisel: fit_on is {fit_on!r}: use 'all' or 'train'")
    seen = np.flatnonzero(counts.getnnz(axis=0))
    return Dataset(counts[:, seen].astype(np.float64), genes[seen].tolist(), labels, arrays)


def split(
    dataset: Dataset,
    replicate: int,
    seed: int,
    fit_on: str = "all",
    train_on: str = "rest",
    **rules: Any,
) -> Split:
    """Five folds by the authors' rule; with ``fit_on="train"`` preprocessing of their own.

    Training rows are the other folds, or with ``train_on="all"`` all rows. Raises DataError for
    other words, and for preprocessing that would see fewer cells than the method.
    """
    if (fit_on, train_on) not in {("all", "all"), ("all", "rest"), ("train", "rest")}:
        raise DataError(
            f"zeisel: fit_on {fit_on!r} with train_on {train_on!r}: use 'all' or 'train' with "
            "'rest', or 'all' with 'all'"
        )
    if fit_on == "all":
        fold = kfold(dataset, replicate)
        if train_on == "rest":
            return fold
        assert fold.index is not None
        everything = np.arange(dataset.X.shape[0])
        return Split(dense(dataset.X), fold.test, index=(everything, fold.index[1]))
    cells = Dataset(np.zeros((dataset.X.shape[0], 1)), ["cell"])
    index = kfold(cells, replicate).index
    assert index is not None
    train, test = (dataset.X[rows] for rows in index)
    normalise = fit(train, **rules)
    features = [dataset.features[j] for j in normalise.genes]
    return Split(normalise(train), normalise(test), index=index, features=features)


def fit(
    counts: sp.csr_matrix,
    min_molecules: int = 25,
    min_correlated: int = 5,
    correlation: float = 0.2091,
    n_noisy: int = 5000,
    n_genes: int = 558,
) -> Normaliser:
    """Learn the preprocessing from counts (cells, genes); see the module's docstring."""
    enough = np.flatnonzero(np.asarray(counts.sum(axis=0)).ravel() >= min_molecules)
    Y = dense(counts[:, enough])
    related = correlated_genes(Y, correlation) >= min_correlated
    Y, kept = Y[:, related], enough[related]
    if len(kept) < n_genes:
        raise DataError(
            f"zeisel: {len(kept)} genes pass the filters, n_genes is {n_genes}: "
            "lower n_genes, min_molecules or min_correlated"
        )
    order = np.argsort(-noise_distance(Y), kind="stable")[:n_noisy]
    Y = Y[:, order]
    reference = reference_quantiles(Y)
    spread = to_quantiles(Y, reference).std(axis=0)
    return Normaliser(kept[order], reference, np.argsort(-spread, kind="stable")[:n_genes])


def correlated_genes(Y: np.ndarray, threshold: float) -> np.ndarray:
    """For each column of Y (cells, genes) the number of others correlated above the threshold.

    Correlations are formed in blocks of genes and each pair once: the matrix of 13,000 x 13,000
    is never held. A constant gene is correlated with none.
    """
    Z = Y - Y.mean(axis=0)
    norm = np.sqrt((Z**2).sum(axis=0))
    Z /= np.where(norm > 0, norm, 1)
    blocks = [
        slice(start, min(start + BLOCK_GENES, Z.shape[1]))
        for start in range(0, Z.shape[1], BLOCK_GENES)
    ]
    count = np.zeros(Z.shape[1], dtype=int)
    for i, left in enumerate(blocks):
        for right in blocks[i:]:
            above = Z[:, left].T @ Z[:, right] > threshold
            if right == left:
                np.fill_diagonal(above, False)
            else:
                count[right] += above.sum(axis=0)
            count[left] += above.sum(axis=1)
    return count


def fit_noise(mean: np.ndarray, cv: np.ndarray) -> tuple[float, float]:
    """Fit log2 CV = log2(mean^alpha + k) by least absolute deviations; returns (alpha, k).

    This is the noise curve of Zeisel et al. (2015) and of their ceftools.
    """

    def deviation(parameters: np.ndarray) -> float:
        alpha, k = parameters
        # The curve has no logarithm where mean^alpha + k is negative: no solution lies there.
        return float(np.abs(np.log2(np.maximum(mean**alpha + k, 1e-12)) - np.log2(cv)).sum())

    alpha, k = minimize(deviation, [-0.5, 0.5], method="Nelder-Mead").x
    return float(alpha), float(k)


def noise_distance(Y: np.ndarray) -> np.ndarray:
    """Height of each column of Y (cells, genes) above the noise curve, in log2 CV."""
    mean = Y.mean(axis=0)
    cv = Y.std(axis=0) / mean
    alpha, k = fit_noise(mean, cv)
    return np.log2(cv) - np.log2(mean**alpha + k)


def _read(path: Path) -> tuple[sp.csr_matrix, np.ndarray, dict[str, np.ndarray]]:
    """Counts (cells, genes), gene names, and the header's fields for the cells."""
    with text_file(path, "delete it and fetch it again") as stream:
        header = _header(stream, path)
        genes, counts = _counts(stream, len(header["cell_id"]), path)
    return counts, genes, header


def _header(stream: TextIO, path: Path) -> dict[str, np.ndarray]:
    rows = [next(stream, "").rstrip("\r\n").split("\t") for _ in range(HEADER_ROWS)]
    fields = {row[1]: np.array(row[2:]) for row in rows if len(row) > 2}
    missing = {"cell_id", *LABELS.values()} - set(fields)
    widths = {len(values) for values in fields.values()}
    if missing or len(widths) > 1 or next(stream, "").strip():
        raise DataError(
            f"{path} is not in the official layout: ten header rows with the field's name in "
            "column 2 and one value a cell from column 3, then a blank row"
            + (f"; missing {', '.join(sorted(missing))}" if missing else "")
        )
    return fields


def _counts(stream: TextIO, n_cells: int, path: Path) -> tuple[np.ndarray, sp.csr_matrix]:
    genes, cells, values, ends = [], [], [], [0]
    for number, line in enumerate(stream, HEADER_ROWS + 2):
        gene, *fields = line.rstrip("\r\n").split("\t")
        try:
            row = np.array(fields[1:], dtype=np.int32)
        except (ValueError, OverflowError):
            row = np.empty(0, np.int32)
        if len(row) != n_cells or row.min() < 0:
            raise DataError(
                f"{path}, line {number} ({gene!r}): not a name, a group and {n_cells} counts"
            )
        genes.append(gene)
        cells.append(np.flatnonzero(row))
        values.append(row[cells[-1]])
        ends.append(ends[-1] + len(cells[-1]))
    if not genes:
        raise DataError(f"{path} holds no genes: delete it and fetch it again")
    # A line is a gene, so the lines are the columns of cells by genes.
    columns = (np.concatenate(values), np.concatenate(cells), ends)
    return np.array(genes), sp.csc_matrix(columns, (n_cells, len(genes))).tocsr()
