# Every CI step is a target here; `make help` lists them.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
GEN_VENV := .venv-gen
AUDIT_VENV := .venv-audit

##@ Use

.PHONY: run
run: $(VENV)/.runtime ## Set up and start the whole service on this machine (authsvc dev), with a walk-through
	$(BIN)/authsvc dev $(ARGS)

.PHONY: demo
demo: $(VENV)/.runtime ## Play the whole story once on free ports and exit 0
	$(BIN)/authsvc demo

.PHONY: test
test: install ## Set up and pass every test that is quick enough for each change
	$(BIN)/python -m pytest $(ARGS)

##@ Work on it

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: install
install: $(VENV)/.dev ## Make .venv with the locked dependencies and the tools

.PHONY: test-long
test-long: install ## Pass the long tests too (crash bursts, slow connections)
	$(BIN)/python -m pytest -m "long or not long" $(ARGS)

.PHONY: test-clients
test-clients: install ## Pass each client's tests where its toolchain is, all vectors, and revoke to refusal measured live
	$(BIN)/python -m clients.conformance.suites

.PHONY: lint
lint: install ## Check formatting, lint rules and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml authsvc clients/python/authsvc_client

.PHONY: fmt
fmt: install ## Format the code and apply safe lint fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: types
types: install ## Check types (mypy --strict)
	$(BIN)/mypy

.PHONY: proto-lint
proto-lint: install ## Lint the contract (buf STANDARD + COMMENTS)
	$(BIN)/buf lint

.PHONY: gen
gen: ## Generate the Python stubs from protos/
	protos/generate.sh

.PHONY: gen-check
gen-check: ## Prove that the committed stubs are current
	protos/generate.sh --check

.PHONY: vectors
vectors: install ## Judge the conformance vectors anew and write clients/conformance/*.json
	$(BIN)/python -m tests.conformance.vectors

.PHONY: check
check: lint types proto-lint gen-check test ## Everything that CI asks for

.PHONY: bench
bench: install ## Print one table of ratios measured side by side in one run
	$(BIN)/python -m bench $(ARGS)

.PHONY: audit
audit: $(AUDIT_VENV)/.ready ## Look for known vulnerabilities and write the bill of materials (build/sbom.json)
	mkdir -p build
	$(AUDIT_VENV)/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --of JSON -o build/sbom.json requirements.lock
	$(AUDIT_VENV)/bin/python deploy/audit.py requirements.lock

.PHONY: lock
lock: ## Resolve the dependencies anew (needs uv on the PATH)
	uv pip compile --quiet $(LOCK_FLAGS) pyproject.toml --extra postgres --extra redis --group build --output-file requirements.lock
	uv pip compile --quiet $(LOCK_FLAGS) pyproject.toml --group dev --constraint requirements.lock --output-file requirements-dev.lock
	uv pip compile --quiet $(LOCK_FLAGS) --group audit --output-file requirements-audit.lock

.PHONY: clean
clean: ## Remove the environments and caches (never .authsvc/, which is data)
	rm -rf $(VENV) $(GEN_VENV) $(AUDIT_VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist

LOCK_FLAGS := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --no-emit-package authsvc-client

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("authsvc needs Python 3.11 or newer; set PYTHON=/path/to/it") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

# The two distributions of this tree go in without dependencies or build isolation: the lock has them all.
$(VENV)/.runtime: requirements.lock pyproject.toml clients/python/pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation -e clients/python -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

$(AUDIT_VENV)/.ready: requirements-audit.lock
	$(PYTHON) -m venv $(AUDIT_VENV)
	$(AUDIT_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements-audit.lock
	@touch $@
