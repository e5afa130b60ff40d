"""Artefacts: one file here is one table or figure of the paper, or one of ours.

A file holds a literal dict ``ARTEFACT`` (kind, label, caption, category, datasets, extract), read
without importing it, and ``make(results)``: a DataFrame for a table, ``(Figure, DataFrame)`` for a
figure. A table has ``pretty(frame, results)``, the sheets that its readers see. Where it needs
codes or loadings beyond the scores, ``extract(runs)`` gets them. Files that begin with
"_" are helpers. Every artefact can always be made: where nothing was run, it says so.
"""
