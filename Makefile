# `make` without a target lists the targets; each prints the next step.

PYTHON ?= python3
VENV ?= .venv
PORT ?= 5000
KILLS ?= 100
SEED ?=
# Three workers, since they wait for processes at times, even on two cores. Files go to them in the
# order of their folders: the longest first, tests/unit at last.
PYTEST_ARGS ?= -n 3 --dist loadfile --no-loadscope-reorder
LOCK_ARGS ?=
# CUDA=1 also installs TensorFlow's CUDA libraries (Linux, about 3 GB more).
CUDA ?=
# RAY=1 also installs Ray, for executor=ray (80 MB more).
RAY ?=

# Modules shared by the benchmarks.
SHARED := benchmarks/clock.py benchmarks/measuring.py benchmarks/peers.py \
	benchmarks/simulation.py benchmarks/make_curves.py
LOCK := requirements$(if $(CUDA),-cuda,$(if $(RAY),-ray)).lock
# With both, Ray's lock is installed afterwards: their common packages have the same versions.
AFTER := $(if $(and $(CUDA),$(RAY)),requirements-ray.lock)
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed-from-$(LOCK)$(AFTER)
DATA_FOUND := $(VENV)/.data-found-in
STORE := mlruns/mlflow.db
# -qq: errors only.
PIP_INSTALL = $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input
# uv writes this command into the header, instead of its own with all options.
COMPILE = UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal \
	--python-version 3.11 --fork-strategy fewest --generate-hashes --group build $(LOCK_ARGS)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help setup ready smoke sweep own baselines test test-quick test-release test-drawn lint ui torture bench pictures lock clean-venv

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: ready ## create .venv, install locked packages, get and verify the data (CUDA=1: for GPUs, RAY=1: for clusters)
	@echo "ready: $(VENV), data in $$(cat $(DATA_FOUND)). Next: make smoke"

smoke: ready ## a one-minute sweep on part of the real data
	$(BIN)/python -m fmnist_sweep +sweep=smoke
	@echo "Next: make ui, or make sweep"

sweep: ready ## the main sweep: search CNNs on all of Fashion-MNIST
	$(BIN)/python -m fmnist_sweep +sweep=cnn
	@echo "Next: make ui"

own: $(INSTALLED) ## draw a small folder of pictures, shapes/, to try your own data with
	@$(BIN)/python docs/draw_pictures.py shapes
	@echo "Next: python -m fmnist_sweep data=folder data.dir=shapes ... (docs/data.md)"

baselines: ready ## train the published systems with three seeds and write their table (an hour)
	@for file in experiments/baseline/*.yaml; do \
	  name=$$(basename "$$file" .yaml); \
	  $(BIN)/python -m fmnist_sweep -m +baseline=$$name train.seed=1,2,3 || exit 1; \
	done
	$(BIN)/python -m fmnist_sweep baselines
	@echo "Next: make ui"

test-quick: ready ## tests without trainings or processes (a minute)
	$(BIN)/python -m pytest -m 'not slow and not release' tests/search tests/unit $(PYTEST_ARGS)
	@echo "Next: make test"

test: ready ## all tests except the release tests (PYTEST_ARGS='-k split' for a part)
	$(BIN)/python -m pytest -m 'not release' $(PYTEST_ARGS)
	@echo "Next: make lint"

test-release: ready ## tests of wheel, notebook, benchmarks, memory, browser, and many kills
	$(BIN)/python -m pytest -m release $(PYTEST_ARGS)
	@echo "Next: make bench"

# Otherwise drawn examples are the same in each run.
test-drawn: ready ## tests with drawn examples, with new ones in each run (ten minutes)
	$(BIN)/python -m pytest -m hypothesis --hypothesis-profile=drawn $(PYTEST_ARGS)
	@echo "Next: make torture"

lint: $(INSTALLED) ## formatter check, linter, type checker, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	@echo "Next: make test"

ui: $(INSTALLED) ## open the results in MLflow's UI, on this machine only (PORT=5000)
	@test -f $(STORE) || { \
	  echo "make ui: $(STORE) does not exist; 'make smoke' or 'make sweep' creates it" >&2; \
	  exit 2; }
	@$(BIN)/python -m fmnist_sweep ui $(PORT)

torture: ready ## kill small sweeps of every tuner at random moments (KILLS=100, SEED=...; 20 minutes)
	$(BIN)/python tests/torture.py $(KILLS) $(SEED)

bench: ready ## run all benchmarks (three hours; each file is also a command)
	@for words in $(sort $(filter-out $(SHARED),$(wildcard benchmarks/*.py))) \
	    "benchmarks/throughput.py accuracy"; do \
	  echo "$(BIN)/python $$words"; \
	  $(BIN)/python $$words || exit 1; \
	done

pictures: ready ## create the pictures of README and docs from the latest cnn sweep (needs Chromium)
	$(BIN)/python docs/make_pictures.py

lock: $(INSTALLED) ## rewrite the lock files from pyproject.toml (LOCK_ARGS=--upgrade: newest)
	$(COMPILE) pyproject.toml --extra dev -o requirements.lock
	$(COMPILE) pyproject.toml --extra dev --extra cuda -c requirements.lock -o requirements-cuda.lock
	$(COMPILE) pyproject.toml --extra dev --extra ray -c requirements.lock -o requirements-ray.lock
	$(COMPILE) -c requirements.lock -o requirements-build.lock
	@echo "Next: make test"

clean-venv: ## remove .venv
	rm -rf $(VENV)
	@echo "Next: make setup"

ready: $(INSTALLED)
	@test -e "$$(cat $(DATA_FOUND) 2>/dev/null)" \
	  || $(BIN)/python -m fmnist_sweep.data.setup --found-in $(DATA_FOUND)

# The build tools are installed first, from their own lock, and used for the packages that have to be
# built (this one, and OmegaConf's antlr4 runtime, which is published as source only): pip's isolated
# builds would download build tools without hashes.
$(INSTALLED): pyproject.toml $(LOCK) $(AFTER) requirements-build.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || { \
	  echo "make setup: PYTHON=$(PYTHON) is $$($(PYTHON) --version 2>&1 || true);" \
	    "needed: Python 3.11, 3.12 or 3.13 (make setup PYTHON=python3.12)" >&2; \
	  exit 2; }
	@echo "$(VENV): installing $(LOCK) (about 3 GB; takes minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP_INSTALL) --require-hashes -r requirements-build.lock
	@for lock in $(LOCK) $(AFTER); do \
	  $(PIP_INSTALL) --require-hashes --no-build-isolation -r $$lock || exit 1; \
	done
	@$(PIP_INSTALL) --no-index --no-deps --no-build-isolation --editable .
	@touch $@
