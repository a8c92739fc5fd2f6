# Everything runs in one virtual environment that make creates itself. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
JOBS ?= 2
N ?= 1000

.DEFAULT_GOAL := help
.PHONY: help install demo train g2p silero test test-all fuzz lint format types imports bench clean

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

test: $(INSTALLED)  ## the tests, wide matrices sampled
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not exhaustive"

test-all: $(INSTALLED)  ## the tests, wide matrices in full
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

fuzz: $(INSTALLED)  ## random programs and networks on real interpreters: make fuzz N=5000
	TFLITE_RNN_EXAMPLES=$(N) $(BIN)/python -m pytest --hypothesis-show-statistics \
		tests/lowering/test_random_programs.py tests/nn/test_random_networks.py

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

clean:  ## remove what make made
	rm -rf $(VENV) build .cache
