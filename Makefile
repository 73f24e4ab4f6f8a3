# The book, its tests and the rest. `make` alone lists what there is.
#
#   PYTHON      the Python that makes the environment; without it, the first fitting one on the path
#   ARGS        more arguments for pytest, the notebooks or the benchmarks: make test ARGS="-k losses -x"
#   REPOSITORY  the address under which make publish publishes the book

PYTHON ?=
ARGS ?=
REPOSITORY ?=

VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)

# What the book is built from. Gone and come pages show in _toc.yml, new pins in requirements.txt.
BOOK := _config.yml _toc.yml pyproject.toml requirements.txt \
  $(wildcard book/*.md book/*.ipynb book/*.bib book/*.csv book/_static/* book/_static/*/* gan_helpers/*.py gan_helpers/*/*.py gan_helpers/assets/*.json gan_helpers/assets/*.png) \
  tools/reference_links.py tools/site_pages.py

# The reader's own settings must not leak into the environment; tools/surroundings.py does so for notebooks and tests.
unexport PYTHONHOME PYTHONPATH PYTHONSTARTUP PYTHONWARNINGS MPLBACKEND
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_USER := 0
ifdef CI
export PIP_PROGRESS_BAR := off
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help environment book test reliability notebooks pages pictures colab faults bench lint publish clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

environment: ## make .venv from requirements.txt, if it is not up to date
	@sh tools/environment.sh "$(VENV)" "$(PYTHON)"

book: environment _build/html/.complete ## build the pages from the stored notebooks, with warnings as errors
	@echo "The book: $(CURDIR)/_build/html/index.html"

# Sphinx reports a warning only when it reads the page, and refreshes no side bar of a page that it skips.
# So there are two ways: nothing changed and nothing is done, or all pages are built.
_build/html/.complete: $(BOOK) | environment
	@rm -rf _build/html _build/.doctrees _build/html/.complete
	$(BIN)/jupyter-book build . --warningiserror --nitpick --keep-going --quiet
	@touch $@

test: environment ## run the unit tests, and the notebooks against their stored outputs
	@mkdir -p _build
	$(BIN)/python -m pytest --nbval -n auto --junitxml=_build/tests.xml $(ARGS)
	@echo "The tests passed. Their report: $(CURDIR)/_build/tests.xml"

reliability: environment ## measure what the project promises, slowly, and store the table
	$(BIN)/python -m pytest -m reliability tests $(ARGS)

notebooks: environment ## run the notebooks afresh and store their outputs
	$(BIN)/python -m tools.notebooks $(ARGS)
	$(BIN)/python -m tools.pictures thumbnails
	$(BIN)/python -m tools.pages

pages: environment ## write what pages and files say of each chapter, from the sheets and _toc.yml
	$(BIN)/python -m tools.pages

pictures: environment ## make the pictures of the landing page afresh
	$(BIN)/python -m tools.pictures $(ARGS)

colab: environment ## run the notebooks elsewhere, with NumPy 2 and without the package, as Colab would
	$(BIN)/python -m tools.colab $(ARGS)

faults: environment ## plant faults in a copy, and say which test notices each
	$(BIN)/python -m tools.faults $(ARGS)

bench: environment ## measure the package against what a reader would use instead
	$(BIN)/python -m benchmarks $(ARGS)

lint: environment ## check style, annotations and types
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy
	@echo "Nothing to complain about."

publish: environment ## write the address REPOSITORY=https://github.com/OWNER/NAME into all files that need it
	$(BIN)/python -m tools.publish "$(REPOSITORY)"

clean: ## remove the built pages and all caches; .venv stays
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage build dist .venv-colab
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
