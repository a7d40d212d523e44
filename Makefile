# make drive   a fresh machine to a driven route        make lint    ruff
# make test    a fresh machine to a proven checkout     make clean   remove what these made
PYTHON ?= python3
PIP_FLAGS ?=
BIN := .venv/bin
PINS := setup.cfg pyproject.toml constraints.txt
export PYTHONHASHSEED := 0

.PHONY: drive test lint clean

drive: .venv/installed
	$(BIN)/python tools/drive_demo.py $(ARGS)

test: .venv/installed-for-tests lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

lint: .venv/installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf .venv build dist *.egg-info .ruff_cache runs

.venv/created:
	@$(PYTHON) -c 'import sys; ok = (3, 10) <= sys.version_info[:2] <= (3, 12); \
	sys.exit(0 if ok else "found Python %d.%d; the carla wheel exists for 3.10 to 3.12: make PYTHON=python3.11 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	touch $@

.venv/installed: .venv/created $(PINS)
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e .
	touch $@

.venv/installed-for-tests: .venv/created $(PINS)
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e .[test,train,view,cluster]
	touch .venv/installed $@
