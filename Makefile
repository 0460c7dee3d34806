# make demo   real text to shards and a small trained model, in runs/quickstart
# make test   linters, types and the whole test suite
# make fuzz   the property tests with new random examples, ROUNDS times
# make warm   compile all kernels once for this machine

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

ROUNDS ?= 10

.PHONY: demo test fuzz warm lint clean

demo: $(STAMP)
	$(BIN)/gristmill run configs/quickstart.yaml

test: lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

fuzz: $(STAMP)
	for round in $$(seq $(ROUNDS)); do \
		GRISTMILL_EXAMPLES=fuzz $(BIN)/python -m pytest -n 2 --dist worksteal -m hypothesis || exit 1; \
	done

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

warm: $(STAMP)
	$(BIN)/gristmill warm

# The lock pins everything that is installed, and holds more: what the images need beside this.
PIP_INSTALL = $(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) setuptools
	$(PIP_INSTALL) --no-build-isolation --editable '.[pretrain,test]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
