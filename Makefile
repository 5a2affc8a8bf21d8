# `make demo` and `make test` set up all they need: a virtual environment in .venv with the versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Processes of the tests, each of which holds up to 3 GB.
PROCESSES ?= 2
PYTEST := $(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist worksteal

BROWSER := $(shell command -v chromium && command -v chromedriver)

.PHONY: help setup browser demo test test-fast test-all coverage gpu check skill scale-filter pseudo-nwp real-nwp model evaluation learning-curve warnings endurance sources early-or-late bench bench-history fuzz same-bits notebooks docs picture clean
.DEFAULT_GOAL := help

help:  ## show this
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

setup: $(READY)  ## make .venv, with the package (editable), its dependencies and the tools of development

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; choose one with: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip -c constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt --group dev --editable '.[all]'
	@touch $@

demo: setup  ## forecast the stormiest hours of a real archive beside S-PROG; map, film, members and places in out/
	$(BIN)/hybridcast demo --output out

browser:  ## Chromium for the tests of the nightly report, where apt-get can install it; they are skipped without
ifeq ($(words $(BROWSER)),2)
	@:
else
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver >/dev/null \
		|| echo "Chromium could not be installed: its tests are skipped"; \
	else echo "no Chromium (apt-get install chromium chromium-driver): its tests are skipped"; fi
endif

test-fast: setup  ## the tests of everyday work, in 5 to 10 minutes on two cores
	$(PYTEST) -m "not (browser or heavy or notebook or process or pysteps or slow or training)"

test: setup browser  ## all tests but the heavy ones
	$(PYTEST) -m "not heavy"

test-all: setup browser  ## all tests
	$(PYTEST)

coverage: setup browser  ## the suite with its coverage; then that of the kernels, interpreted, and CUDA's on numba's simulator
	$(BIN)/python -m pytest --cov --cov-report=
	NUMBA_DISABLE_JIT=1 NUMBA_ENABLE_CUDASIM=1 $(BIN)/python -m pytest tests/kernels/test_points.py tests/kernels/test_gpu.py tests/core/test_device.py --cov --cov-append --cov-report=term

fuzz: setup  ## a thousand damaged copies of each real file through its reader; an hour or two
	PYTHONPATH=tests $(BIN)/python -m fuzzing --count 1000

gpu: setup  ## on a CUDA device: the tests of the kernels, CPU against GPU on a real event, and the speed of each kernel
	$(BIN)/python -m pytest -m gpu
	$(BIN)/python notebooks/speed_gpu.py

check: setup  ## format, lint, types, and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

skill: setup  ## skill of the motion against other methods, on the real events; writes notebooks/motion_skill.json
	$(BIN)/python notebooks/motion_skill.py

scale-filter: setup  ## skill and speed of the scale filter against pysteps' S-PROG; writes notebooks/scale_filter.json
	$(BIN)/python notebooks/scale_filter.py

pseudo-nwp: setup  ## how good the pseudo-NWP is on the real events; writes notebooks/pseudo_nwp_quality.json
	$(BIN)/python notebooks/pseudo_nwp_quality.py

real-nwp: setup  ## errors of real NWP runs; RUNS=folder of the runs; writes notebooks/real_nwp_quality.json
	$(BIN)/python notebooks/real_nwp_quality.py $(RUNS)

model: setup  ## train the model that comes with the package, from the real events; an hour or less
	$(BIN)/hybridcast train --out data/model --work scratch

evaluation: setup  ## nowcasters on the real events; trained ones on regions they were not trained on; hours, can be continued
	$(BIN)/python notebooks/evaluation.py

learning-curve: setup  ## members trained on 4, 16 and 64 days, on networks left out; hours, can be continued
	$(BIN)/python notebooks/learning_curve.py --work scratch

warnings: setup  ## warnings at invented places against later radar, German and Alpine; hours, can be continued
	$(BIN)/python notebooks/place_warnings.py --work scratch/warnings

endurance: setup  ## hybridcast watch killed a hundred times, its memory over 300 cycles, eleven days replayed; hours
	$(BIN)/python notebooks/watch_endurance.py kills --work scratch/endurance
	$(BIN)/python notebooks/watch_endurance.py memory --work scratch/endurance
	$(BIN)/python notebooks/watch_endurance.py replay --work scratch/endurance

sources: setup  ## gain from gauges, NWP wind and pseudo-NWP, on the real events; writes notebooks/sources.json; can be continued
	PYTHONPATH=notebooks/experiments $(BIN)/python -m ablation.sources

early-or-late: setup  ## early against late fusion on the real events, with pseudo-NWP and pseudo-gauges; half an hour
	PYTHONPATH=notebooks/experiments $(BIN)/python -m early_fusion.early_or_late

bench: setup  ## speed and memory against pysteps, OpenCV and torch, in one run; QUICK=--quick for a minute's worth
	$(BIN)/python notebooks/speed.py $(QUICK)

bench-history: setup  ## the results of make bench of all revisions, as a table; writes notebooks/results/speed_history.md
	$(BIN)/python notebooks/speed_history.py

same-bits: setup  ## forecasts of three events by the working tree and by another revision, compared bit by bit; BASE=main
	$(BIN)/python notebooks/same_bits.py --base $(or $(BASE),HEAD)

notebooks: setup  ## execute every notebook, say how long each took, and render it for a forge; ONLY="01 07" for some
	$(BIN)/python notebooks/run.py $(ONLY)

docs: setup  ## the site, in out/docs/index.html, without a network; a warning, such as a link that leads nowhere, is an error
	rm -rf out/docs notebooks/reference/generated
	$(BIN)/python -m sphinx --fresh-env --fail-on-warning --keep-going --quiet --doctree-dir out/doctrees notebooks out/docs
	@echo "wrote out/docs/index.html"

picture: setup  ## the animated picture of the README, from real radar of FMI
	$(BIN)/python notebooks/picture.py

clean:  ## remove what was built, numba's caches too
	rm -rf $(VENV) out dist build notebooks/reference/generated .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
