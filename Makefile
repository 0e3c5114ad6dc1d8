# Needs nothing but make and a Python >= 3.12. Every target first sets up .venv, exactly as
# requirements.lock says, when it is missing or older than the lock.

BIN := .venv/bin
LOCKED := .venv/.locked
READY := .venv/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# an environment whose Python has gone is no environment
$(shell test -x $(BIN)/python || rm -f $(LOCKED) $(READY))

.DEFAULT_GOAL := help
.PHONY: help setup demo test validate lint bench-em bench-starts bench-posterior docs lock wheel check-wheel clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: $(READY) ## set up .venv (the other targets do it themselves)

$(LOCKED): requirements.lock
	@python=$$(PYTHON="$(PYTHON)" tools/find-python) || exit 1; \
	echo "Setting up .venv with $$python; this takes a few minutes, once."; \
	"$$python" -m venv --clear .venv
	@$(PIP) install --require-hashes --requirement requirements.lock
	@touch $@

$(READY): $(LOCKED) pyproject.toml
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## fit, sample and compare on the Old Faithful data, into out/demo
	$(BIN)/bayes-gmm analyze faithful -k 2 --out out/demo
	@echo "Done. Open out/demo/report.html in a browser."

test: $(READY) ## run the tests
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

validate: $(READY) ## run the slow statistical proofs, and see that planted bugs are noticed
	$(BIN)/python -m pytest -m validate
	$(BIN)/python tools/planted_bugs.py

lint: $(READY) ## check style, formatting and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench-em: $(READY) ## time an iteration of EM, ours against scikit-learn's
	$(BIN)/python benchmarks/em.py

bench-starts: $(READY) ## count how often a default fit finds the best optimum, ours and theirs
	$(BIN)/python benchmarks/starts.py

bench-posterior: $(READY) ## time our engines against a PyMC program written by hand
	$(BIN)/python benchmarks/posterior.py

docs: $(READY) ## build the documentation, notebooks executed, into docs/_build/html
	@rm -rf docs/api  # pages of an earlier build, of names that may be gone
	$(BIN)/sphinx-build --fail-on-warning --keep-going docs docs/_build/html
	@echo "Done. Open docs/_build/html/index.html in a browser."

lock: $(READY) ## resolve requirements.lock anew (with UPGRADE=--upgrade: to the newest versions)
	@command -v uv >/dev/null || test -x build/uv/bin/uv || { \
		$(BIN)/python -m venv build/uv && build/uv/bin/pip install --quiet uv; }
	PATH="$$PATH:build/uv/bin" uv pip compile pyproject.toml --group dev --universal \
		--python-version 3.12 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" $(UPGRADE) --quiet --output-file requirements.lock

wheel: $(READY) ## build the wheel and the source distribution into dist
	rm -rf dist
	$(BIN)/python -m build --no-isolation

check-wheel: wheel ## install the wheel alone in a new environment and use it there
	tools/check-wheel dist/*.whl

clean: ## remove what was made, but not .venv
	rm -rf build dist out docs/_build docs/api docs/notebooks
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
