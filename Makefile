# The course: `make book` to read it, `make test` to check it, `make help` for the rest.
# Needs Python 3.11, 3.12 or 3.13, make and git; everything else goes into .venv from constraints.txt.

# The first Python of a supported version; say `make book PYTHON=/path/to/python3.12` to choose.
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c '$(SUPPORTED)' 2>/dev/null && { echo $$p; break; }; done)

BIN := .venv/bin
READY := .venv/.ready
TEACH := .venv/.teach
PEERS := .venv-bench/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
NAMES ?=
BENCH ?=
PORT ?= 8000

.PHONY: help book pdf test exercises mark slides bench lint serve clean doctor
.DEFAULT_GOAL := help

help: ## list the commands
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 12

$(READY): constraints.txt pyproject.toml
	@"$(PYTHON)" -c '$(SUPPORTED)' 2>/dev/null || { \
		echo "Python 3.11, 3.12 or 3.13 is missing: install one, or name it: make book PYTHON=/path/to/python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "Python's venv module is missing: install it (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@echo "Setting up .venv with $$($(PYTHON) --version) (once; some minutes on a slow line) ..."
	@test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
	@# torch first and alone: what comes later then takes this one and fetches no other.
	@$(PIP) $(if $(TORCH_INDEX),--retries 1 --extra-index-url $(TORCH_INDEX)) torch
	@$(PIP) --editable '.[book,test,scale]'
	@touch $(READY)

$(TEACH): $(READY)
	@echo "Installing what marking needs (nbgrader, JupyterLab) into .venv (once) ..."
	@$(PIP) --editable '.[teach]'
	@touch $(TEACH)

$(PEERS): benchmarks/requirements.txt pyproject.toml
	@echo "Installing the libraries to compare with into .venv-bench (once) ..."
	@test -x .venv-bench/bin/python || "$(PYTHON)" -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -c benchmarks/requirements.txt \
		$(if $(TORCH_INDEX),--retries 1 --extra-index-url $(TORCH_INDEX)) torch
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/requirements.txt
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $(PEERS)

book: $(READY) ## execute the pages and build the book into _build/html
	@$(BIN)/python -m course_lib.authoring.gate book

pdf: book ## the whole book as one PDF, _build/pdf/book.pdf, printed by an installed Chromium (CHROMIUM=/path/to/chromium)
	@CHROMIUM="$(CHROMIUM)" $(BIN)/python -m course_lib.authoring.pdf

test: $(TEACH) ## run every check: lint, spelling, notebooks, library, marking, strict book
	@$(BIN)/python -m course_lib.authoring.gate

exercises: $(READY) ## write the notebooks of solutions/ and exercises/ from their masters (NAMES="ch1_euler ...")
	@$(BIN)/python -m course_lib.authoring.exercises $(NAMES)

# SUBMISSIONS=folder of NAME.ipynb or student/assignment/NAME.ipynb; MARK="--jobs 4 --seconds 30 ..." for the options.
mark: $(TEACH) ## mark what students handed in, into SUBMISSIONS-marks (SUBMISSIONS=dir MARK="--help")
	@test -n "$(SUBMISSIONS)" || { echo "say what to mark: make mark SUBMISSIONS=folder" >&2; exit 1; }
	@$(BIN)/python -m course_lib.marking "$(SUBMISSIONS)" $(MARK)

slides: book $(TEACH) ## slides of the chapters from the pages of the built book, into _build/slides (NAMES="ch1_euler ...")
	@$(BIN)/python -m course_lib.authoring.slides $(NAMES)

bench: $(PEERS) ## time the library beside its peers, into benchmarks/results (BENCH="step fits", or BENCH=--list)
	@.venv-bench/bin/python benchmarks/bench.py $(BENCH)

lint: $(READY) ## check the style of the code with ruff
	@$(BIN)/python -m ruff check .

serve: book ## build the book and serve it on localhost (PORT=8000)
	@echo "Reading at http://localhost:$(PORT)/ (Ctrl-C ends it)"
	@$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

doctor: $(READY) ## say what is wrong with this environment
	@$(BIN)/python -m course_lib doctor

clean: ## remove the built book and its cache; .venv stays
	rm -rf _build
