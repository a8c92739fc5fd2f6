# Everything runs in virtual environments that make creates itself. `make help` lists the targets. Another Python than
# python3: make test PYTHON=python3.13 VENV=.venv-3.13, make check PYTHON=python3.13 CHECK_VENV=.venv-check-3.13.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CHECK_VENV := .venv-check
CHECK_BIN := $(CHECK_VENV)/bin
CHECK_INSTALLED := $(CHECK_VENV)/.installed
UNAIDED := not tensorflow and not runtime and not download and not demo and not exhaustive
JOBS ?= 2
N ?= 1000
SEED ?= 1
KIND ?= all

.DEFAULT_GOAL := help
.PHONY: help install demo train g2p silero keywords check test test-all fuzz attack lint format types imports bench clean

help:  ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(INSTALLED)  ## create .venv with the project and everything it needs

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: $(INSTALLED)  ## convert a trained network, prove it on every runtime, and use it
	$(BIN)/python -m models.demo

train: $(INSTALLED)  ## train a small network, convert it, and evaluate the file
	$(BIN)/python -m models.digits

g2p: $(INSTALLED)  ## convert a trained encoder and decoder, prove both, and pronounce words
	$(BIN)/python -m models.g2p

silero: $(INSTALLED)  ## convert a trained speech detector, and stream sound through it chunk by chunk
	$(BIN)/python -m models.silero_vad

keywords: $(INSTALLED)  ## train a network on spoken commands, and stream them through the files 20 ms at a time
	$(BIN)/python -m models.keywords

check: $(CHECK_INSTALLED)  ## style, types, import rules and every test that needs no TensorFlow: a minute
	$(CHECK_BIN)/ruff check .
	$(CHECK_BIN)/ruff format --check .
	$(CHECK_BIN)/mypy
	$(CHECK_BIN)/lint-imports
	$(CHECK_BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "$(UNAIDED)"

$(CHECK_INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(CHECK_VENV)
	$(CHECK_BIN)/python -m pip install --quiet --upgrade pip
	$(CHECK_BIN)/python -m pip install --quiet --editable '.[check]'
	@touch $@

test: $(INSTALLED)  ## the tests, wide matrices sampled
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not exhaustive"

test-all: $(INSTALLED)  ## the tests, wide matrices in full
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

fuzz: $(INSTALLED)  ## random programs and networks on real interpreters: make fuzz N=5000
	TFLITE_RNN_EXAMPLES=$(N) $(BIN)/python -m pytest --hypothesis-show-statistics \
		tests/lowering/test_random_programs.py tests/nn/test_random_networks.py

attack: $(INSTALLED)  ## mutated files of every kind, converted or refused: make attack N=10000 SEED=2 KIND=tflite
	$(BIN)/python -m tests.attack --n $(N) --seed $(SEED) --kind $(KIND)

lint: $(INSTALLED)  ## style, and formatting unchanged
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED)  ## rewrite the code in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(INSTALLED)  ## static types, strict
	$(BIN)/mypy

imports: $(INSTALLED)  ## who may import whom
	$(BIN)/lint-imports

bench: $(INSTALLED)  ## timings, as ratios measured side by side
	$(BIN)/python -m benchmarks.recurrences
	$(BIN)/python -m benchmarks.streaming

clean:  ## remove what make made
	rm -rf $(VENV) $(CHECK_VENV) build .cache
