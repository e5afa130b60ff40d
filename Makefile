# `make demo` and `make test` set themselves up in .venv; nothing else is touched.
PYTHON ?= python3
CORES ?= 2
BIN := .venv/bin

.PHONY: demo test faults cluster-test lint figures bench setup

setup: .venv/.ready

.venv/.ready: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

demo: setup ## the whole pipeline on small settings, in minutes
	$(BIN)/python -m snakemake --cores $(CORES) --configfile config/demo.yaml

test: setup lint ## lint, types and tests
	$(BIN)/python -m pytest -n $(CORES) --dist worksteal

faults: setup ## every fault of tests/faults, counted by how it ended
	$(BIN)/python -m pytest -n $(CORES) --dist worksteal -m "" tests/faults

cluster-test: setup ## a cluster of two nodes on this machine: apt-get install slurmctld slurmd slurm-client munge
	$(BIN)/python -m pytest -m "" -rs tests/cluster

lint: setup
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python -m snakefmt --check Snakefile workflow
	$(BIN)/python -m snakemake --lint --configfile config/demo.yaml

figures: setup ## every table and figure from results/reference, without training or data
	$(BIN)/python -m anchorbench rebuild --source results/reference

bench: setup ## timings against the plain loop of the paper's algorithm, and of a GPU if there is one
	$(BIN)/python benchmarks/bench.py
