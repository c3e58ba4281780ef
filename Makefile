# make run: the embedded example through the whole flow. make test: the tests. Both set up .venv by themselves, which is
# all that make venv does.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BOARD ?= zcu102
IMAGES ?= 20
MUTANTS ?= 200
EACH ?= 60

.PHONY: venv run test test-all lint refusals mutants clean

$(VENV)/ready: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q alloy boards compiler driver quant rtl sim spec
	touch $@

venv: $(VENV)/ready

# Synthesis runs beside the simulation and is stopped with it; its report is shown at the end, the verdict on
# bit-exactness last.
run: $(VENV)/ready
	@mkdir -p build
	$(BIN)/python -m quant --example fashion_mnist --out build/network.npz
	@$(BIN)/python -u -m rtl.build --platform $(BOARD) > build/synthesis.log 2>&1 & synthesis=$$!; \
	trap 'kill $$synthesis 2> /dev/null; wait $$synthesis' EXIT; trap 'exit 130' INT; trap 'exit 143' TERM HUP; \
	$(BIN)/python -u -m sim.run --platform $(BOARD) --images $(IMAGES) --json build/run.json | tee build/run.log \
	  | grep --line-buffered -v '^bit-exact'; simulated=$${PIPESTATUS[0]}; \
	echo "waiting for synthesis (progress in build/synthesis.log)"; \
	wait $$synthesis || { tail -n 1 build/synthesis.log; exit 1; }; \
	cat build/$(BOARD)/report.txt; echo "files: build/$(BOARD), build/network.npz, build/run.json, build/run.log"; \
	tail -n 1 build/run.log; exit $$simulated

# Two processes fill the cores; threads of PyTorch and NumPy within them would only wait for each other.
test test-all: export OMP_NUM_THREADS = 1

test: $(VENV)/ready
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not slow" tests

test-all: $(VENV)/ready
	$(BIN)/python -m pytest -q -n 2 --dist worksteal tests

lint: $(VENV)/ready
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy
	$(BIN)/python -m vulture

# Places that refuse something and that no fast test reaches.
refusals: export ALLOY_REFUSALS = $(CURDIR)/build/refusals
refusals: export OMP_NUM_THREADS = 1
refusals: $(VENV)/ready
	@rm -rf build/refusals; mkdir -p build/refusals
	$(BIN)/python -m pytest -q -n 2 -m "not slow" -p tests.refusals tests
	$(BIN)/python -m tests.refusals build/refusals

# Changes on purpose, and whether a test sees them, among so many seconds of tests (0: all); goes on where it was cut
# off.
mutants: $(VENV)/ready
	$(BIN)/python -u -m tests.mutants --count $(MUTANTS) --seconds $(EACH)

clean:
	rm -rf build
