# What a newcomer needs: `make run` and `make test`. Each target installs what it misses.
SHELL := /bin/bash
SWIFT ?= swift
SAMPLE := sample
# Whatever hangs fails, and is named.
LIMITED := timeout --verbose --kill-after=30s
.PHONY: run test torture fuzz acceptance device pictures lint format build release bench bench-device install deb package clean deps venv

# Packages of Debian that the build and the sample need.
deps:
	@if ! [ -e /usr/include/sqlite3.h ] || ! command -v sqlite3 >/dev/null || ! command -v python3 >/dev/null \
	  || ! command -v curl >/dev/null; then \
	  echo "Installing libsqlite3-dev, sqlite3, python3, curl ..."; \
	  sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$sudo apt-get update -q && $$sudo apt-get install -y -q libsqlite3-dev sqlite3 python3 curl; \
	fi

# The tools from PyPI get a virtual environment.
venv:
	@if ! python3 -c 'import ensurepip' 2>/dev/null; then \
	  echo "Installing python3-venv ..."; \
	  sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$sudo apt-get update -q && $$sudo apt-get install -y -q python3-venv; \
	fi

build: deps
	$(SWIFT) build

# Stripped, and without a table of all symbols: 60 MB less on the card, 3 MB less in memory. It looks for
# libraries nowhere but where the system has them, and what the linker has set cannot be overwritten.
release: deps
	$(SWIFT) build -c release --static-swift-stdlib --product chock --disable-local-rpath \
	  -Xlinker --no-export-dynamic -Xlinker -s -Xlinker -z -Xlinker now

# The daemon on a sample coach with an older database, and a simulator that says it is parked.
run: deps
	$(SWIFT) build --product chock
	Tests/SampleCoach/run.sh $$($(SWIFT) build --show-bin-path)/chock $(SAMPLE)

# The tests of servers, sources and of updaters in the same process by themselves: beside tests that block
# every thread on files, their deadlines pass.
test: deps
	$(SWIFT) build --build-tests
	$(call tested,25m,$(FEW) --skip 'ControlServerTests|CoachSourcesTests|UpdatingTests')
	$(call tested,10m,--filter 'UpdatingTests')
	$(call tested,10m,--filter 'ControlServerTests|CoachSourcesTests')

# Each test starts programs of its own: more than a few at once, and none of them comes to its turn in time.
FEW = --experimental-maximum-parallelization-width 6
# What failed stands at the end once more, where somebody looks first.
tested = @set -o pipefail; $(LIMITED) $(1) $(SWIFT) test --skip-build $(2) 2>&1 | tee .build/tests.log \
  || { echo "Failed:"; grep -a -A 3 'recorded an issue' .build/tests.log; exit 1; }

# For the night: a kill and a fault at every single call, hundreds of power cuts, thousands of
# random programs.
torture: deps
	$(SWIFT) build --build-tests
	CHOCK_TORTURE=1 $(SWIFT) test --skip-build --filter 'EveryCallTests|PowerCutTests|TrapTests|RandomProgramTests'

# What reads bytes from outside, on whatever libFuzzer invents.
SECONDS ?= 60
fuzz: deps
	Tests/Fuzz/fuzz.sh $(SECONDS)

# Databases that other tools made, by the tools themselves (from PyPI): adopted and updated. Scenes on a
# CAN bus of a second kernel, and two on a booted device. The panel in a browser. The interface against its descriptions, and RFC 6455. The
# commands, links and words of the documentation.
acceptance: deps venv
	$(SWIFT) build --product chock
	$(SWIFT) build --product WebSocketEcho
	$(LIMITED) 20m Tests/Adoption/adopt.py $$($(SWIFT) build --show-bin-path)/chock
	$(LIMITED) 20m Tests/Coach/vcan.py $$($(SWIFT) build --show-bin-path)/chock
	$(LIMITED) 20m Tests/Device/device.py $$($(SWIFT) build --show-bin-path)/chock update power_apply
	$(LIMITED) 30m Tests/Panel/panel.py $$($(SWIFT) build --show-bin-path)/chock
	$(LIMITED) 20m Tests/Protocol/interface.py $$($(SWIFT) build --show-bin-path)/chock
	$(LIMITED) 20m Tests/Protocol/autobahn.py $$($(SWIFT) build --show-bin-path)/WebSocketEcho
	$(LIMITED) 10m Tests/Docs/docs.py $$($(SWIFT) build --show-bin-path)/chock

# What docs/owners.md and the README show, by the panel itself on a sample coach. Look at them before you commit.
pictures: deps venv
	$(SWIFT) build --product chock
	Tests/Panel/panel.py $$($(SWIFT) build --show-bin-path)/chock --shots docs/pictures pictures

# A booted device in a second kernel: systemd, a controller, a CAN bus, power cuts. SCENES="stop clock": only these.
device: deps
	$(SWIFT) build --product chock
	Tests/Device/device.py $$($(SWIFT) build --show-bin-path)/chock $(SCENES)

# Everything but the config. systemd looks below /usr/local, too; polkit only below /usr.
# BINARY: what is built already, such as .build/debug/chock for a test.
PREFIX ?= /usr/local
ROOT = $(DESTDIR)$(PREFIX)
BINARY ?=
CHOCK = $(or $(BINARY),$$($(SWIFT) build -c release --show-bin-path)/chock)
# Where zsh looks differs: Debian has /usr/share/zsh/vendor-completions.
ZSH ?= share/zsh/site-functions
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || date +%s)
install: $(if $(BINARY),,release)
	install -D "$(CHOCK)" $(ROOT)/bin/chock
	install -d $(addprefix $(ROOT)/share/doc/chock/,decisions examples pictures)
	install -m 0644 -t $(ROOT)/share/doc/chock README.md LICENSE CHANGELOG.md docs/*.md docs/alerts.yml
	install -m 0644 -t $(ROOT)/share/doc/chock/pictures docs/pictures/*.png
	install -m 0644 -t $(ROOT)/share/doc/chock/decisions docs/decisions/*.md
	install -m 0644 -t $(ROOT)/share/doc/chock/examples docs/chock.example.toml docs/chock-update.html docs/examples/*
	docs/links.py $(ROOT)/share/doc/chock
	docs/man.py "$(CHOCK)" $(ROOT)/share/man
	install -d $(ROOT)/share/bash-completion/completions $(ROOT)/$(ZSH) $(ROOT)/share/fish/vendor_completions.d
	"$(CHOCK)" --generate-completion-script bash | sed '1{/^#!/d}' > $(ROOT)/share/bash-completion/completions/chock
	"$(CHOCK)" --generate-completion-script zsh > $(ROOT)/$(ZSH)/_chock
	"$(CHOCK)" --generate-completion-script fish > $(ROOT)/share/fish/vendor_completions.d/chock.fish
	install -D -m 0644 systemd/chock.service $(ROOT)/lib/systemd/system/chock.service
	sed -i 's|/usr/bin/chock|$(PREFIX)/bin/chock|' $(ROOT)/lib/systemd/system/chock.service
	install -m 0644 -t $(ROOT)/lib/systemd/system systemd/chock.socket
	install -D -m 0644 systemd/coachiq.service.d/chock.conf $(ROOT)/lib/systemd/system/coachiq.service.d/chock.conf
	install -D -m 0644 systemd/chock.sysusers $(ROOT)/lib/sysusers.d/chock.conf
	install -D -m 0644 systemd/chock.tmpfiles $(ROOT)/lib/tmpfiles.d/chock.conf
	install -D -m 0644 systemd/chock.catalog $(ROOT)/lib/systemd/catalog/chock.catalog
	install -D -m 0644 systemd/chock.rules $(ROOT)/share/polkit-1/rules.d/50-chock.rules

# The Debian package of this machine's architecture, in .build/package. REVISION counts the packages of one version.
export REVISION ?= 1
deb: $(if $(BINARY),,release)
	@if ! command -v dpkg-deb >/dev/null || ! command -v apt-get >/dev/null; then \
	  echo "This machine has no dpkg and apt, which make the package. Elsewhere: make install PREFIX=/usr"; exit 1; \
	fi
	@if ! command -v dpkg-shlibdeps >/dev/null; then \
	  echo "Installing dpkg-dev ..."; \
	  sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$sudo apt-get update -q && $$sudo apt-get install -y -q --no-install-recommends dpkg-dev; \
	fi
	systemd/debian/build.sh "$(CHOCK)" .build/package

# The package: built, looked at by lintian, installed into a Debian of its own, upgraded, removed, purged.
package: $(if $(BINARY),deps,release) venv
	$(LIMITED) 15m Tests/Package/package.py "$(CHOCK)"

lint:
	$(SWIFT) format lint --strict --recursive --parallel Package.swift Sources Tests

format:
	$(SWIFT) format --in-place --recursive --parallel Package.swift Sources Tests

bench: release venv
	Tests/Benchmarks/bench.py $$($(SWIFT) build -c release --show-bin-path)/chock

# On a device of a Pi's size in a second kernel: an update, and what is written to the card while nothing
# happens. PARTS="idle --minutes 30": only that, and for longer.
bench-device: release
	Tests/Device/small.py $$($(SWIFT) build -c release --show-bin-path)/chock $(PARTS)

clean:
	rm -rf .build Tests/Benchmarks/GRDBMigrator/.build $(SAMPLE)
