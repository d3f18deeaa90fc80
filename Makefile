# Everything a newcomer types. The first command makes .venv; later ones reuse it until the pins change.
VENV   := .venv
PYTHON ?= python3
RUN    := $(VENV)/bin/python
STAMP  := $(VENV)/.installed
LAYER  ?= lidar
SECONDS_OF_FUZZ ?= 1140
SEED   ?= 0

.PHONY: demo test lint format fuzz scoreboard weights clean

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

# SECONDS_OF_FUZZ are shared out among the files' three fuzzers and eighteen families of readers.
EACH = $(shell expr $(SECONDS_OF_FUZZ) / 21)
fuzz: $(STAMP)
	$(RUN) tests/fuzz/fuzz_fold.py --seconds $(EACH) --seed $(SEED)
	$(RUN) tests/fuzz/fuzz_visual.py --seconds $(EACH) --seed $(SEED)
	$(RUN) tests/fuzz/fuzz_street.py --seconds $(EACH) --seed $(SEED)
	$(RUN) tests/fuzz/fuzz_readers.py --seconds $(EACH) --seed $(SEED)

scoreboard: $(STAMP)
	$(RUN) -m benchmarks.scoreboard --layer $(LAYER)

$(STAMP): pyproject.toml constraints.txt
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

# Train the default weights again, from generated towns alone: about five hours on two cores.
WEIGHTS := out/weights
FINE    := --pairs $(WEIGHTS)/pairs-fine --pair-count 700 --preset small-16x
weights: $(STAMP)
	$(VENV)/bin/foldmap train lidar $(FINE) --rate 2.2 --matcher-steps 600 --steps 4500 --name fine-16x-3 -o $(WEIGHTS)/fine-16x-3
	$(VENV)/bin/foldmap train lidar $(FINE) --rate 4.5 --matcher-steps 0 --steps 500 --name fine-16x-6 \
	    --start $(WEIGHTS)/fine-16x-3/model.safetensors -o $(WEIGHTS)/fine-16x-6
	$(VENV)/bin/foldmap train lidar $(FINE) --rate 1.1 --matcher-steps 0 --steps 500 --name fine-16x-1 \
	    --start $(WEIGHTS)/fine-16x-3/model.safetensors -o $(WEIGHTS)/fine-16x-1
	$(VENV)/bin/foldmap train lidar --coarse --pairs $(WEIGHTS)/pairs-coarse --pair-count 300 --preset coarse-4x --rate 3.5 \
	    --matcher-steps 500 --steps 1700 --name coarse-4x-4 -o $(WEIGHTS)/coarse-4x-4
	$(VENV)/bin/foldmap train lidar --pairs $(WEIGHTS)/pairs-fine --marks 0.4 --bit-price 0.1 --name marks-fine-5 -o $(WEIGHTS)/marks-fine-5
	mkdir -p src/foldmap/lidar/weights
	for name in fine-16x-3 fine-16x-6 fine-16x-1 coarse-4x-4 marks-fine-5; do \
	    cp $(WEIGHTS)/$$name/model.safetensors src/foldmap/lidar/weights/$$name.safetensors; done
	$(VENV)/bin/foldmap train street --town --steps 3000 -o $(WEIGHTS)/street-field-1
	$(VENV)/bin/foldmap train street --town --update --steps 1200 --start $(WEIGHTS)/street-field-1/model.safetensors \
	    -o $(WEIGHTS)/street-update-1
	mkdir -p src/foldmap/street/weights
	for name in street-field-1 street-update-1; do \
	    cp $(WEIGHTS)/$$name/model.safetensors src/foldmap/street/weights/$$name.safetensors; done

clean:
	rm -rf out build dist .pytest_cache .ruff_cache .mypy_cache
