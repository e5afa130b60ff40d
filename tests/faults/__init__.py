"""Faults put in by hand, by kind: each ends well, or with a sentence; `make faults` counts."""
