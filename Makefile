# Two words matter: `make serve` answers questions about pictures, `make test` runs every check.
# Everything is built from a package index into .venv (development), .venv-serve (serving, no torch) and .venv-triton
# (NVIDIA's tritonserver, whose Python backend in that wheel cannot read arrays of NumPy 2).

PYTHON ?= python3
DEV := .venv/bin
SERVE := .venv-serve/bin
TRITON := .venv-triton/bin
PIP_FLAGS := --quiet --disable-pip-version-check -c constraints.txt
CPU_LIMIT := OMP_NUM_THREADS=2

.DEFAULT_GOAL := help
.PHONY: help setup serve triton test check lint types imports unit format proto client bench wheels check-system clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

.venv/.built: pyproject.toml clients/python/pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(DEV)/pip install $(PIP_FLAGS) -e clients/python -e '.[dev]'
	@touch $@

.venv-serve/.built: pyproject.toml clients/python/pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-serve
	$(SERVE)/pip install $(PIP_FLAGS) -e clients/python -e '.[cpu]'
	@touch $@

.venv-triton/.built: pyproject.toml clients/python/pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-triton
	grep -v '^numpy==' constraints.txt > .venv-triton/constraints.txt
	$(TRITON)/pip install --quiet --disable-pip-version-check -c .venv-triton/constraints.txt \
		'numpy==1.26.4' -e clients/python -e '.[cpu,triton]'
	$(TRITON)/pip install --quiet --disable-pip-version-check --no-deps nvidia-pytriton==0.7.0
	@touch $@

setup: .venv/.built ## build the development environment

serve: .venv-serve/.built ## serve the shipped models on http://127.0.0.1:8080
	$(SERVE)/vlpserve serve

triton: .venv-triton/.built ## serve the shipped models on NVIDIA's Triton, with the gateway on http://127.0.0.1:8080
	$(TRITON)/vlpserve triton-repository build/triton
	@$(TRITON)/vlpserve triton build/triton & trap "kill $$! 2>/dev/null; wait" EXIT; \
		$(TRITON)/vlpserve serve --engine triton --triton-url 127.0.0.1:8001 --repository build/triton

test: setup lint types imports unit ## every check that needs no system package
	@echo "not run: make check-system (podman, promtool, chromium)"

check: lint types imports ## the quick checks alone

lint: setup ## ruff
	$(DEV)/ruff check .
	$(DEV)/ruff format --check .

format: setup ## let ruff rewrite
	$(DEV)/ruff check --fix .
	$(DEV)/ruff format .

proto: setup ## the generated code of the gRPC protocol
	$(DEV)/python clients/python/make_proto.py

client: setup ## the SDK's blocking twin, from the asynchronous one
	$(DEV)/python clients/python/write_sync_client.py

types: setup ## mypy
	$(DEV)/mypy

imports: setup ## the arrows between packages
	$(DEV)/lint-imports

# Real processes wait for each other more than they compute, so the rest is run beside them.
unit: setup .venv-triton/.built ## the tests
	@mkdir -p build
	@$(CPU_LIMIT) $(DEV)/pytest tests/unit > build/unit.log 2>&1 & unit=$$!; \
		$(CPU_LIMIT) $(DEV)/pytest --ignore=tests/unit; others=$$?; \
		wait $$unit; units=$$?; cat build/unit.log; exit $$((others | units))

bench: setup ## print the figures (never pass or fail)
	$(CPU_LIMIT) $(DEV)/python benchmarks/run_all.py

wheels: setup ## build both wheels into dist/
	$(DEV)/python -m build --wheel --outdir dist .
	$(DEV)/python -m build --wheel --outdir dist clients/python

check-system: setup ## checks that need system packages (podman, prometheus); run before an issue is resolved
	$(DEV)/python docker/check

clean: ## remove environments and builds
	rm -rf .venv .venv-serve .venv-triton build dist
