# Every target does its own set-up: on a fresh clone any of them may come first.
PYTHON ?= python3
MONTHS ?=
SOURCE ?=
BASE ?=
COMMIT ?=
VERSION ?=
MONITOR ?=
FROM ?=
CHALLENGER ?=
PREDICTIONS ?=
LABELS ?=
REQUEST ?=
NUMBER ?=
ROW ?=
UNTIL ?=
LOOP ?=
SET ?=
NAME ?=
JOBS ?=
TRIALS ?=
BUDGET ?=
BRANCH ?=
MODEL ?=
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
# In the folder of another model than the first one where MODEL names it.
run := .venv/bin/python -m$(if $(MODEL), lifecycle.models run '$(MODEL)')
code := src tests $(wildcard models)
actionlint := go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

.PHONY: help install bundle image serve acceptance drill rehearse lint audit ci settings format test pipeline data sample model reproduce report lineage bench lock monitor status compare experiment experiments tune tracking explore explain notebook

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

install: .venv/installed ## Make the virtual environment .venv from requirements.lock

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv && awk '/^[^ #]/ { keep = /^uv==/ } keep' requirements.lock > .venv/uv.lock && .venv/bin/python -m pip install -q --require-hashes -r .venv/uv.lock
	.venv/bin/uv pip sync -q --python .venv/bin/python --require-hashes requirements.lock && .venv/bin/uv pip install -q --python .venv/bin/python --no-deps -e . && touch $@

pipeline: .venv/installed ## Pull the data, reproduce what changed, show the metrics and the gate's verdict
	@$(run) lifecycle.reproduce
	@$(run) lifecycle.gate $(if $(BASE),--base '$(BASE)'); gate=$$?; $(run) lifecycle.track; exit $$gate

experiment: .venv/installed ## Try settings in a copy: SET="train.seed=1,2" [NAME=name] [JOBS=2]; BRANCH=name makes one a branch
	@$(run) lifecycle.experiment $(if $(BRANCH),branch '$(BRANCH)',run --set '$(SET)' $(if $(NAME),--name '$(NAME)') $(if $(JOBS),--jobs '$(JOBS)'))

experiments: .venv/installed ## Show the experiments beside the champion, best first
	@$(run) lifecycle.experiment list

tracking: .venv/installed ## Start an MLflow server on loopback, which the pipeline finds by itself
	@exec $(run) lifecycle.track serve

data: .venv/installed ## Bring months in: MONTHS=2024-01,2024-02 [SOURCE=folder or address]
	@$(run) lifecycle.pull
	@$(run) lifecycle.ingest --months '$(MONTHS)' $(if $(SOURCE),--source '$(SOURCE)')

sample: .venv/installed ## Write the synthetic months anew, as params.yaml describes them
	@$(run) lifecycle.sample && $(run) dvc add -q data

model: .venv/installed ## Put another model beside the first one: NAME=name; then every target takes MODEL=name
	@.venv/bin/python -m lifecycle.models add '$(NAME)' && $(MAKE) --no-print-directory sample MODEL='$(NAME)'

reproduce: .venv/installed ## Hold dvc.lock against a run of what changed: [BASE=revision]
	@$(run) lifecycle.reproduce --check $(if $(BASE),--base '$(BASE)')

report: .venv/installed ## Say what changed: BASE=revision; writes out/report.json, .md and .html
	@$(run) lifecycle.report $(if $(BASE),--base '$(BASE)') $(if $(COMMIT),--commit '$(COMMIT)')

lineage: .venv/installed ## Say where a model came from: [VERSION=v1.0.0 or an answer's model_hash]
	@$(run) lifecycle.lineage $(VERSION)

explore: .venv/installed ## Write out/explore.html: what the months hold, and where the champion errs in them
	@$(run) lifecycle.pull && $(run) lifecycle.explore

explain: .venv/installed ## Explain a prediction: REQUEST=id [NUMBER=row] PREDICTIONS=folder or address; or ROW='{...}'
	@$(run) lifecycle.pull && $(run) lifecycle.explain $(if $(REQUEST),--request '$(REQUEST)' --predictions '$(PREDICTIONS)' $(if $(NUMBER),--number '$(NUMBER)')) $(if $(ROW),--row '$(ROW)')

notebook: .venv/installed ## Go on by hand: open the domain's notebook in a browser, on loopback
	@$(run) lifecycle.pull && exec $(run) marimo edit --host 127.0.0.1 src/domain/notebook.py

status: .venv/installed ## Write out/status.html: [MONITOR=folder of the monitor's reports]
	@$(run) lifecycle.status $(if $(MONITOR),--monitor '$(MONITOR)')

bundle: .venv/installed ## Pack the model for AWS Lambda, or the champion with [CHALLENGER=v1.2.0]: out/bundle.zip
	@$(run) dvc pull -q out/model.onnx && $(run) lifecycle.bundle $(if $(CHALLENGER),--challenger '$(CHALLENGER)')

image: bundle ## Build the container image; needs buildah or docker: [FROM=base image]
	@$(run) lifecycle.image $(if $(FROM),--base '$(FROM)')

serve: .venv/installed ## Answer requests on loopback: [PORT=8080]
	@$(run) dvc pull -q out/model.onnx && exec $(run) lifecycle.serve

lint: .venv/installed ## Check the code's form and rules
	.venv/bin/ruff format --check -q $(code) && .venv/bin/ruff check -q $(code)
	.venv/bin/shellcheck .ci/run && .venv/bin/zizmor -q --offline --no-progress .github && .venv/bin/pylint src tests
	@if command -v go > /dev/null; then $(actionlint) -shellcheck .venv/bin/shellcheck; elif [ "$$CI" ]; then echo 'actionlint needs Go' >&2; exit 1; else echo 'skipped: actionlint, which needs Go'; fi

audit: .venv/installed ## Ask whether a library in requirements.lock has a known vulnerability
	.venv/bin/uv tool run -q pip-audit@2.10.1 --progress-spinner off --disable-pip --require-hashes -r requirements.lock $(AUDIT)

ci: .venv/installed ## Run the workflows on this machine; needs act and gh: [ONLY=fork]
	@.venv/bin/python -m rehearsal.ci $(ONLY)

settings: .venv/installed ## Say which repository settings are missing; APPLY=1 sets them
	@.venv/bin/python -m lifecycle.github.settings $(if $(APPLY),--apply)

format: .venv/installed ## Bring the code into form
	.venv/bin/ruff check -q --fix $(code) && .venv/bin/ruff format -q $(code)

test: .venv/installed ## Run the tests; those of other models, or with [MODEL=name] of one, after the machinery's
	$(if $(MODEL),,.venv/bin/python -m pytest -m 'not acceptance and not drill' --numprocesses auto --dist loadfile --cov --cov-report=term)
	@for tests in $(wildcard models/$(or $(MODEL),*)/tests); do PYTHONPATH="$${tests%tests}src" .venv/bin/python -m pytest "$$tests" || exit 1; done

acceptance: .venv/installed ## Run the long tests: AWS on loopback, an image, fuzzing, a fork; needs Terraform
	.venv/bin/python -m pytest -m acceptance --numprocesses auto --dist loadfile

drill: .venv/installed ## Run the longest tests: several models, a cluster, an MLflow server, experiments at once
	.venv/bin/python -m pytest -m drill --numprocesses auto --dist loadfile

rehearse: bundle ## Play good and bad deploys on loopback, or with LOOP=1 drift and retraining; needs Terraform
	@$(run) rehearsal.$(if $(LOOP),loop,rehearse)

monitor: .venv/installed ## Judge production: PREDICTIONS=folder or address LABELS=the same [UNTIL=time]
	@$(run) lifecycle.monitor --predictions '$(PREDICTIONS)' --labels '$(LABELS)' $(if $(UNTIL),--until '$(UNTIL)')

compare: .venv/installed ## Champion or challenger, by live labels: PREDICTIONS=folder or address LABELS=the same
	@$(run) lifecycle.compare --predictions '$(PREDICTIONS)' --labels '$(LABELS)'

tune: .venv/installed ## Search for better hyperparameters: TRIALS=40 or BUDGET=10m [BRANCH=where params.yaml is changed]
	@$(run) lifecycle.reproduce
	@$(run) lifecycle.tune $(if $(TRIALS),--trials '$(TRIALS)') $(if $(BUDGET),--budget '$(BUDGET)') $(if $(BRANCH),--branch '$(BRANCH)')

bench: .venv/installed ## Measure speed and error against yardsticks: [SOURCE=folder of real months]
	@$(run) dvc pull -q out/model.onnx out/model.joblib && $(run) lifecycle.reproduce --prepare
	@$(run) tests.bench $(if $(SOURCE),--source '$(SOURCE)')

lock: .venv/installed ## Resolve pyproject.toml into requirements.lock anew
	.venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --all-extras --no-header --upgrade -o requirements.lock pyproject.toml
