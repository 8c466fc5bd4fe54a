# `make run` and `make test` set up what they need, into .venv; the rest is for developers.
SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
OUT ?= demo
SCREEN := env -u WAYLAND_DISPLAY LIBGL_ALWAYS_SOFTWARE=1 xvfb-run -a -s "-screen 0 1600x1000x24"
# .venv has all bindings; napari is about to drop PyQt5.
QT := QT_API=$${QT_API:-pyqt6}

export PYTHON
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help run test test-all coverage figures lowest newest pythons soak lint format docs links screenshots \
    benchmarks audit lock clean setup system

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)$$/make \1|\2/p' Makefile | column -t -s '|'

run: setup ## the demo: a phantom cohort from rough labels to corrected ones, then the window
	$(BIN)/mlbseg demo $(OUT)
	@if [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ]; then \
	    $(QT) $(BIN)/mlbseg gui $(OUT)/demo.mlbseg; \
	else \
	    $(QT) $(SCREEN) $(BIN)/python scripts/screenshot.py $(OUT)/demo.mlbseg $(OUT)/window.png && \
	    echo "No screen here; the window looks like this: $(OUT)/window.png"; \
	fi

test: setup ## lint, types, examples, all tests but the slow ones, windows with every Qt binding
	@scripts/test.sh $(VENV) -q -m "not slow"

test-all: setup ## the same with the slow tests, with the lowest and newest versions, and every Python
	@scripts/test.sh $(VENV) -q -o timeout=3600
	@scripts/resolved.sh lowest-direct --if-reachable -m "not slow"
	@scripts/resolved.sh highest --if-reachable -m "not slow"
	@scripts/pythons.sh --if-reachable

coverage: setup ## the same tests as `make test`, and which branches of the package they take
	@scripts/coverage.sh $(VENV) -q -m "not slow"

figures: setup ## files per folder, arrows between rooms, long functions, tests / code
	@$(BIN)/python scripts/figures.py --names

lowest: system ## the tests with the lowest versions that pyproject.toml allows, in a fresh environment
	@scripts/resolved.sh lowest-direct -m "not slow"

pythons: system ## wheel and sdist at work in an empty environment of each Python that is here
	@scripts/pythons.sh

soak: setup ## an hour of work in one window: memory, threads, handles and layers, round by round
	$(QT) $(SCREEN) $(BIN)/python tests/widgets/soak/run.py --minutes 60

newest: system ## windows from start to end with the newest napari, in a fresh environment
	@scripts/newest.sh

lint: setup ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup ## the documentation as a site, build/docs/index.html; its links within have to lead somewhere
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

links: setup ## whether the links of the documentation to elsewhere still lead somewhere
	$(BIN)/python -m sphinx -W --keep-going -q -b linkcheck docs build/links

screenshots: setup ## the pictures in docs/images, and of every state of the window in build/screens
	$(QT) $(SCREEN) $(BIN)/python scripts/screenshots.py
	$(QT) $(SCREEN) $(BIN)/python scripts/screens.py

benchmarks: setup ## scripts in benchmarks/ (not peers.py, which takes a day); each prints a table
	@for script in $(filter-out benchmarks/peers.py,$(wildcard benchmarks/[a-z]*.py)); do \
	    echo "== $$script"; $(SCREEN) $(BIN)/python "$$script" || exit 1; \
	done

audit: setup ## bandit, pip-audit, an SBOM and the hashes of the lock, in build/audit
	@scripts/audit.sh $(VENV)

lock: ## requirements.lock again, from the newest versions that pyproject.toml allows
	scripts/lock.sh

clean: ## everything that can be made again
	rm -rf $(VENV) demo dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup: system $(INSTALLED)

system:
	@scripts/system_packages.sh

$(INSTALLED): pyproject.toml requirements.lock scripts/venv.sh
	@scripts/venv.sh $(VENV)
	@touch $@
