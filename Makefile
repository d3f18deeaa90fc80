# Everything a newcomer types. The first command makes .venv; later ones reuse it until the pins change.
VENV   := .venv
PYTHON ?= python3
RUN    := $(VENV)/bin/python
STAMP  := $(VENV)/.installed
LAYER  ?= lidar
EXTRAS ?= dev
SECONDS_OF_FUZZ ?= 1140
MINUTES_OF_SOAK ?= 60
SEED   ?= 0

# Else each of the processes that tests start compiles what it imports anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test suite lint style types format fuzz soak scoreboard evidence weights clean

demo: $(STAMP)
	$(VENV)/bin/foldmap demo -o out/demo

# Types are checked beside the tests: both take minutes, and a core waits for either alone.
test: style
	@$(MAKE) --no-print-directory -j 2 suite types

# Each worker takes one half of the files in their order, and of the other's half what is left at its end: what a file
# makes is made once, and loops are rarely compiled by both at a time.
suite: $(STAMP)
	$(RUN) -m pytest -n 2 --dist worksteal

lint: style types

style: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(STAMP)
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

soak: $(STAMP)
	$(RUN) -m benchmarks.scoreboard --layer world --only requests --minutes $(MINUTES_OF_SOAK)

scoreboard: $(STAMP)
	$(RUN) -m benchmarks.scoreboard --layer $(LAYER)

# Measure what is not measured, or was on other recordings or code, and make the tables of docs/benchmarks.md anew.
# Hours in all, outside CI; what was stopped goes on. ONLY="visual-paper house-lines" names runs, or how they begin.
evidence: $(STAMP)
	$(RUN) -m benchmarks.evidence $(ONLY)

# A third of what is installed nobody imports, others' tests above all: the rest alone is compiled, on all cores.
NEVER := '/(tests|testing/_internal|pip|setuptools)/'
$(STAMP): pyproject.toml constraints.txt
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --no-compile -c constraints.txt -e '.[$(EXTRAS)]'
	$(RUN) -m compileall -qq -j 0 -x $(NEVER) $(VENV)/lib || true
	touch $@

# Train all shipped weights again, from generated towns and pictures alone: about seven hours on two cores. What ships
# was trained in parts with these settings; weights/provenance.json beside
# each model says how and where.
WEIGHTS := out/weights
LIDAR_WEIGHTS  := fine-16x-3 fine-16x-6 coarse-4x-4 marks-fine-5 marks-fine-6 marks-fine-7 marks-fine-8 marks-fine-9
STREET_WEIGHTS := street-field-1 street-update-1
VISUAL_WEIGHTS := sift-1
FINE    := --pairs $(WEIGHTS)/pairs-fine --pair-count 700 --preset small-16x
COARSE  := --coarse --pairs $(WEIGHTS)/pairs-coarse --pair-count 300 --preset coarse-4x
MARKS   := --pairs $(WEIGHTS)/pairs-marks --pair-count 240
weights: $(STAMP)
	$(VENV)/bin/foldmap train lidar $(FINE) --rate 2.2 --matcher-steps 500 --steps 3500 --name fine-16x-3 -o $(WEIGHTS)/fine-16x-3
	$(VENV)/bin/foldmap train lidar $(FINE) --rate 4.5 --matcher-steps 0 --steps 320 --name fine-16x-6 \
	    --start $(WEIGHTS)/fine-16x-3/model.safetensors -o $(WEIGHTS)/fine-16x-6
	$(VENV)/bin/foldmap train lidar $(COARSE) --rate 3.5 --matcher-steps 500 --steps 1700 -o $(WEIGHTS)/coarse-4x-first
	$(VENV)/bin/foldmap train lidar $(COARSE) --rate 2.6 --matcher-steps 0 --steps 1500 --seed 1 --name coarse-4x-4 \
	    --start $(WEIGHTS)/coarse-4x-first/model.safetensors -o $(WEIGHTS)/coarse-4x-4
	$(VENV)/bin/foldmap train lidar $(MARKS) --marks 0.4 --bit-price 0.1 --name marks-fine-5 -o $(WEIGHTS)/marks-fine-5
	$(VENV)/bin/foldmap train lidar $(MARKS) --marks 0.4 --bit-price 0.05 --told 0 --name marks-fine-6 -o $(WEIGHTS)/marks-fine-6
	$(VENV)/bin/foldmap train lidar $(MARKS) --marks 0.4 --bit-price 0.06 --told 0 --lines 0.3 --name marks-fine-7 \
	    -o $(WEIGHTS)/marks-fine-7
	$(VENV)/bin/foldmap train lidar $(MARKS) --marks 0.4 --bit-price 0.06 --told 0 --lines 0.3 --name marks-fine-8 \
	    -o $(WEIGHTS)/marks-fine-8
	$(VENV)/bin/foldmap train lidar $(MARKS) --marks 1.6 --bit-price 0.02 --told 0 --lines 0.3 --name marks-fine-9 \
	    -o $(WEIGHTS)/marks-fine-9
	$(VENV)/bin/foldmap train street --town --steps 3000 -o $(WEIGHTS)/street-field-1
	$(VENV)/bin/foldmap train street --town --update --steps 1200 --start $(WEIGHTS)/street-field-1/model.safetensors \
	    -o $(WEIGHTS)/street-update-1
	mkdir -p $(WEIGHTS)/sift-1
	$(RUN) -m benchmarks.descriptors.tracks -o $(WEIGHTS)/sift-1/pairs.npz
	$(RUN) -m benchmarks.visual.standard_basis --descriptors $(WEIGHTS)/sift-1/pairs.npz --feature sift --name sift-1 \
	    -o $(WEIGHTS)/sift-1/model.safetensors
	$(RUN) -m benchmarks.shipped $(WEIGHTS) lidar $(LIDAR_WEIGHTS)
	$(RUN) -m benchmarks.shipped $(WEIGHTS) street $(STREET_WEIGHTS)
	$(RUN) -m benchmarks.shipped $(WEIGHTS) visual $(VISUAL_WEIGHTS)
	@echo "$(WEIGHTS)/shipped holds them; a model that ships is a constant of the format: give what differs a new name"

clean:
	rm -rf out build dist .pytest_cache .ruff_cache .mypy_cache
