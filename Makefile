# Targets for people and for CI; `make help` lists them.
PYTHON ?= python3
PYTHONS ?= python3.10 python3.11 python3.12 python3.13
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
VERSION := import sys; print("%d.%d" % sys.version_info[:2])
RECENT := import sys; sys.exit(sys.version_info < (3, 10) and "gym-loop needs Python 3.10 or newer, and this is " + sys.version.split()[0] + "; name another one: PYTHON=python3.12")
.DEFAULT_GOAL := help

help:  ## Show this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

# An environment without pip was left half made, as where Python has no ensurepip.
venv:
	@if test ! -x $(BIN)/python -o ! -x $(BIN)/pip; then \
	    $(PYTHON) -c '$(RECENT)' && $(PYTHON) -m venv $(VENV); \
	elif test "$(origin PYTHON)" = "command line"; then \
	    there=$$($(BIN)/python -c '$(VERSION)') && wanted=$$($(PYTHON) -c '$(VERSION)') || exit 1; \
	    test $$there = $$wanted || { echo "$(VENV) has Python $$there and $(PYTHON) is $$wanted:" \
	        "add VENV=.venv-$$wanted, or begin with make clean" >&2; exit 1; }; \
	fi

$(VENV)/core: pyproject.toml constraints.txt | venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/dev: pyproject.toml constraints.txt | venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@ $(VENV)/core

$(VENV)/test: pyproject.toml constraints.txt | venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $@

train: $(VENV)/core  ## Install, then train PPO on CartPole-v1, evaluate it and record it.
	test -f run.yaml || $(BIN)/gym-loop create-default --preset ppo/CartPole-v1 -c run.yaml
	$(BIN)/gym-loop train -c run.yaml
	$(BIN)/gym-loop evaluate -c run.yaml --episodes 5 --record

test: lint types  ## Lint, types, tests and documentation, each with warnings as errors.
	$(BIN)/python -m pytest -n $(JOBS)
	$(MAKE) docs

test-all:  ## The tests on every Python of PYTHONS, each in an environment of its own without PyTorch.
	for python in $(PYTHONS); do \
	    version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])') \
	        || { echo "$$python is not installed: left out"; continue; }; \
	    $(MAKE) test-one PYTHON=$$python VENV=.venv-$$version || exit 1; \
	done

test-one: $(VENV)/test
	$(BIN)/python -m pytest -n $(JOBS)

test-browser: $(VENV)/dev  ## Tests of the pages in a real Chromium (apt-get install chromium).
	$(BIN)/python -m pytest -m browser tests/browser

coverage: $(VENV)/dev  ## Tests with branch coverage of all but commands, sweeps and reports: at least 95 %.
	$(BIN)/python -m pytest -n $(JOBS) --cov

mutation: $(VENV)/dev  ## Change the code in many small ways: a test must notice (an hour).
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt mutmut==3.8.1
	$(BIN)/mutmut run --max-children $(JOBS)
	$(BIN)/mutmut results

lint: $(VENV)/dev  ## Check style and formatting.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev  ## Check types, and that nothing is used that the oldest Python lacks.
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.10 --no-warn-return-any --no-warn-unused-ignores gym_loop agents loops

docs: $(VENV)/dev  ## Build the documentation into docs/_build/html.
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

learning: $(VENV)/dev  ## Slow tests: agents must learn, killed runs must resume (up to an hour).
	$(BIN)/python -m pytest -m learning -n $(JOBS) --timeout 3600

bench: $(VENV)/dev  ## Measure the loop, start-up, memory and checkpoints.
	$(BIN)/python benchmarks/loop_overhead.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/checkpoint.py

bench-agents: $(VENV)/dev  ## Measure the agents beside other libraries (in an environment that has them: hours).
	$(BIN)/python benchmarks/vector_loop.py
	$(BIN)/python benchmarks/ppo_cartpole.py
	$(BIN)/python benchmarks/dqn_cartpole.py
	$(BIN)/python benchmarks/sac_pendulum.py
	$(BIN)/python benchmarks/td3_pendulum.py
	$(BIN)/python benchmarks/sac_mujoco.py
	$(BIN)/python benchmarks/many_seeds.py
	$(BIN)/python benchmarks/gpu.py

bench-serving: $(VENV)/dev  ## Measure the servers and the environments behind them.
	$(BIN)/python benchmarks/serving.py
	$(BIN)/python benchmarks/serving_zeromq.py
	$(BIN)/python benchmarks/serving_nats.py
	$(BIN)/python benchmarks/serving_native.py

bench-runs: $(VENV)/dev  ## Measure reports, sweeps, and copies in Ray's actors.
	$(BIN)/python benchmarks/report.py
	$(BIN)/python benchmarks/sweep_overhead.py
	$(BIN)/python benchmarks/ray_shards.py

clean:  ## Remove what the other targets made, runs excepted.
	rm -rf $(VENV) docs/_build docs/reference/generated build dist *.egg-info

.PHONY: help venv train test test-all test-one test-browser coverage mutation lint types docs learning bench bench-agents bench-serving bench-runs clean
