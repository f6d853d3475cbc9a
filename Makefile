# make demo | make test | make test-services | make bench | make peers | make lint | make clean
PYTHON ?= python3
VENV ?= .venv
RUN = OMP_NUM_THREADS=1 $(VENV)/bin
SUDO = $(if $(filter 0,$(shell id -u)),,sudo)

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

.PHONY: demo test test-services services lint bench bench-speed bench-fidelity peers clean

demo: $(VENV)/.ready
	$(RUN)/zsds demo demo

test: $(VENV)/.ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(RUN)/python -m pytest -n 2 --dist worksteal

# What users run beside zsds: PostgreSQL, Slurm and a browser, from Debian's packages; the tests start them themselves.
# Of Prometheus only the tool that checks its rules: its package would start a server.
services: $(VENV)/bin/promtool
	command -v chromium && ls /usr/lib/postgresql/*/bin/initdb /usr/sbin/slurmctld /usr/sbin/slurmd /usr/sbin/munged || \
	  ($(SUDO) apt-get update -q && $(SUDO) apt-get install -y -q --no-install-recommends \
	    chromium postgresql slurm-wlm munge)

$(VENV)/bin/promtool: $(VENV)/.ready
	folder=$$(mktemp -d) && cd $$folder && ($(SUDO) apt-get update -q && apt-get download -q prometheus) && \
	  dpkg -x prometheus_*.deb . && cp usr/bin/promtool $(abspath $(VENV))/bin/ && touch $(abspath $@) && rm -r $$folder

test-services: $(VENV)/.ready services
	$(RUN)/python -m pytest -m services -o timeout=900

lint: $(VENV)/.ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: bench-speed bench-fidelity

bench-speed: $(VENV)/.ready
	$(RUN)/python -m benchmarks.speed --out bench

bench-fidelity: $(VENV)/.ready
	$(RUN)/python -m benchmarks.fidelity --out bench

# Public programs that the benchmarks set beside ours where they are installed.
peers: .venv-peers/.ready
	(command -v source-extractor && command -v psfex && command -v scamp && command -v SWarp && command -v fpack) || \
	  ($(SUDO) apt-get update -q && $(SUDO) apt-get install -y -q --no-install-recommends \
	    source-extractor psfex scamp swarp libcfitsio-bin)

.venv-peers/.ready: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv .venv-peers
	PIP_CONSTRAINT=benchmarks/peers/requirements.txt PIP_BUILD_CONSTRAINT=benchmarks/peers/requirements.txt \
	  .venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers/requirements.txt
	touch $@

clean:
	rm -rf $(VENV) .venv-peers demo build dist bench *.egg-info .pytest_cache .ruff_cache .mypy_cache
