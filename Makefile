# opsportal. `make help` lists what there is. Needs Python 3.11+ and make; everything else is set up here.
# Written for POSIX sh and GNU make 3.81 (macOS ships that one).

VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
ARGS ?=
# Most of what the tests take is waiting for processes and pages: three share two cores well.
WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help run test soak lint bench lock clean distclean setup chromium wrk prometheus blackbox

help: ## this list
	@echo "opsportal: make TARGET"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: setup ## start the whole portal on http://127.0.0.1:8000/ (PORT=… for another port); Ctrl-C ends it
	@exec $(PY) -m opsportal.embedded.run

test: setup chromium prometheus ## run every test (ARGS="-k name" for some, WORKERS=0 for one after the other)
	@exec $(PY) -m pytest -n $(WORKERS) $(ARGS)

# Production-like settings for checks that look at settings but must reach no server.
CHECK_ENV = ENVIRONMENT=production DATABASE_URL=postgresql://nobody:none@127.0.0.1:9/none \
	DATABASE_OWNER_URL=postgresql://owner:none@127.0.0.1:9/none \
	REDIS_URL=redis://127.0.0.1:9/0 ALLOWED_HOSTS=portal.example.com CSRF_TRUSTED_ORIGINS=https://portal.example.com \
	SECRET_KEY=Zx7kQ0vR3nW9tB5yH2mLpD8cF4gJ6sA1eU-not-a-secret-only-for-lint \
	AUDIT_CHAIN_KEY=not-a-secret-only-for-lint-0123456789 FIELD_ENCRYPTION_KEYS=not-a-secret-only-for-lint-0123456789 \
	ALERT_RECIPIENT_HASH_SECRET=not-a-secret-only-for-lint-0123456789 METRICS_TOKEN=not-a-secret-only-for-lint

soak: setup ## the long proofs that no delivery is lost: everything killed at random (ARGS="--order-seed N" repeats a run)
	@exec $(PY) -m pytest -m soak -s tests/faults $(ARGS)

lint: setup ## style, types, layers, migrations and deployment checks
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	@echo "mypy"; $(CHECK_ENV) $(CHECK_ENV) $(PY) -m mypy .
	$(VENV)/bin/lint-imports
	@echo "manage.py makemigrations --check"; $(CHECK_ENV) $(PY) -W ignore manage.py makemigrations --check --dry-run
	@echo "manage.py check --deploy"; $(CHECK_ENV) $(PY) manage.py check --deploy --fail-level WARNING

bench: setup wrk prometheus blackbox ## measure the polled page, the audit log and the health checks
	@exec $(PY) -m bench $(ARGS)

UV_COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock"

lock: setup ## bring requirements/*.txt up to date with requirements/*.in (ARGS=--upgrade for newer versions)
	cd requirements && PATH="$(CURDIR)/$(VENV)/bin:$$PATH" && \
		$(UV_COMPILE) $(ARGS) base.in --output-file base.txt && $(UV_COMPILE) $(ARGS) dev.in --output-file dev.txt

clean: ## throw the running data away: databases, demo passwords, secrets (.run)
	@if [ -x $(PY) ]; then $(PY) -m opsportal.embedded.clean; else rm -rf .run; fi

distclean: clean ## clean, and the virtual environment and caches too
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# The stamp holds what the environment was built from. It goes first and is written last, so that a set-up
# cut short starts from nothing. The path is part of it: a moved environment's programs do not start.
# With an older stamp the environment is brought up to date in place: something may be running from it.
setup: ## virtual environment with the hash-pinned packages (done by the others when needed)
	@want="$(CURDIR) $$(cat requirements/dev.txt | cksum)"; have="$$(cat $(READY) 2>/dev/null)"; \
	$(PY) -c '' 2>/dev/null || have=; \
	if [ "$$have" = "$$want" ]; then exit 0; fi; \
	uv=$$(command -v uv || true); rm -f $(READY); \
	case "$$have" in \
	"$(CURDIR) "*) echo "bringing $(VENV) up to date"; [ -n "$$uv" ] || uv=$(VENV)/bin/uv ;; \
	*)	for python in "$$PYTHON" python3.13 python3.12 python3.11 python3 ''; do \
			[ -n "$$python" ] && "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
		done; \
		if [ -z "$$python" ]; then echo "make: no Python 3.11 or newer on PATH; install one, or name it: PYTHON=/path/to/python3 make" >&2; exit 1; fi; \
		echo "setting up $(VENV) with $$("$$python" --version)"; rm -rf $(VENV); \
		if [ -n "$$uv" ]; then "$$uv" venv --quiet --python "$$python" $(VENV); \
		else \
			"$$python" -m venv $(VENV) || { echo "make: $$python cannot make virtual environments; on Debian and Ubuntu install python3-venv" >&2; rm -rf $(VENV); exit 1; }; \
			awk '/^uv==/ {on=1} on {print} on && !/\\$$/ {exit}' requirements/dev.txt > $(VENV)/uv.txt; \
			$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $(VENV)/uv.txt && uv=$(VENV)/bin/uv; \
		fi ;; \
	esac; \
	{ [ -n "$$uv" ] && "$$uv" pip sync --quiet --require-hashes --python $(PY) requirements/dev.txt; } || \
		{ $(PY) -m ensurepip >/dev/null && $(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt; } || \
		{ echo "make: the packages of requirements/dev.txt could not be installed; the lines above say why" >&2; exit 1; }; \
	echo "$$want" > $(READY)

chromium: setup
	@for name in chromium chromium-browser google-chrome google-chrome-stable; do \
		command -v $$name >/dev/null 2>&1 && exit 0; \
	done; \
	if $(PY) -c 'import os, sys; from playwright.sync_api import sync_playwright as s; p = s().start(); sys.exit(not os.path.exists(p.chromium.executable_path))' 2>/dev/null; then exit 0; fi; \
	echo "installing Chromium for the browser tests"; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null && exit 0; \
	fi; \
	$(PY) -m playwright install chromium || { \
		echo "make: the browser tests need Chromium; install it (Debian: sudo apt-get install chromium; else: $(PY) -m playwright install --with-deps chromium) and run make test again" >&2; exit 1; }

wrk:
	@command -v wrk >/dev/null 2>&1 && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq wrk >/dev/null && exit 0; \
	fi; \
	echo "make: the benchmarks need wrk; install it (Debian: sudo apt-get install wrk; macOS: brew install wrk) and run make bench again" >&2; exit 1

prometheus:
	@command -v prometheus >/dev/null 2>&1 && { command -v prometheus-alertmanager || command -v alertmanager; } >/dev/null 2>&1 && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		echo "installing Prometheus and its Alertmanager for the tests"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus prometheus-alertmanager >/dev/null && exit 0; \
	fi; \
	echo "make: a real Prometheus and Alertmanager send alerts in the tests and benchmarks; install them (Debian: sudo apt-get install prometheus prometheus-alertmanager; macOS: brew install prometheus alertmanager) and try again" >&2; exit 1

blackbox:
	@{ command -v prometheus-blackbox-exporter || command -v blackbox_exporter; } >/dev/null 2>&1 && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus-blackbox-exporter >/dev/null && exit 0; \
	fi; \
	echo "make: the benchmarks compare with Prometheus' prober; install it (Debian: sudo apt-get install prometheus-blackbox-exporter; macOS: brew install blackbox_exporter) and run make bench again" >&2; exit 1
