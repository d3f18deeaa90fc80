# Everything a newcomer types. The first command makes .venv; later ones reuse it until the pins change.
VENV   := .venv
PYTHON ?= python3
RUN    := $(VENV)/bin/python
STAMP  := $(VENV)/.installed
LAYER  ?= lidar
SECONDS_OF_FUZZ ?= 300
SEED   ?= 0

.PHONY: demo test lint format fuzz scoreboard clean

demo: $(STAMP)
	$(VENV)/bin/foldmap demo -o out/demo

test: lint
	$(RUN) -m pytest -n 2

lint: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(STAMP)
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

fuzz: $(STAMP)
	$(RUN) tests/fuzz/fuzz_fold.py --seconds $(SECONDS_OF_FUZZ) --seed $(SEED)

scoreboard: $(STAMP)
	$(RUN) -m foldmap.bench.scoreboard --layer $(LAYER)

$(STAMP): pyproject.toml constraints.txt
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf out build dist .pytest_cache .ruff_cache .mypy_cache
