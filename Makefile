# Every target does its own set-up: on a fresh clone any of them may come first.
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DVC_NO_ANALYTICS := 1

.PHONY: help install lock lint format test pipeline data sample gate report lineage bench

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

install: .venv/installed ## Make the virtual environment .venv from requirements.lock

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv && awk '/^[^ #]/ { keep = /^uv==/ } keep' requirements.lock > .venv/uv.lock && .venv/bin/python -m pip install -q --require-hashes -r .venv/uv.lock
	.venv/bin/uv pip sync -q --python .venv/bin/python --require-hashes requirements.lock && .venv/bin/uv pip install -q --python .venv/bin/python --no-deps -e . && touch $@

lock: .venv/installed ## Resolve pyproject.toml into requirements.lock anew
	.venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --all-extras --no-header --upgrade -o requirements.lock pyproject.toml
