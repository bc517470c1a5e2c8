# Short commands over meson. Each build lives in its own folder:
#   build/release   what is installed; build/llm-proxyd points into it
#   build/asan      AddressSanitizer and UndefinedBehaviorSanitizer
#   build/tsan      ThreadSanitizer
#   build/fuzz      clang and libFuzzer
#   build/clang     clang

PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
DESTDIR ?=
FUZZ_SECONDS ?= 60

CXX_FILES = find include src tests -name '*.h' -o -name '*.cc' -o -name '*.hpp'
VENV = build/venv/.done
REQUIREMENTS = $(wildcard tests/requirements*.txt)
RELEASE = llm-proxy-$(shell sed -n "s/^  version: '\(.*\)',/\1/p" meson.build)
CHECK = build/venv/bin/python tests/check.py

all: build-release

# They serve as soon as the daemon is built, without the unit tests.
run demo: PROGRAM = src/llm-proxyd

run: deps all
	@exec tests/demo/run.sh

demo: deps all
	@exec python3 tests/demo/tour.py

# Every test; check.py names the suites and builds what each needs.
check: $(VENV)
	@$(CHECK)

# The same, or SUITES of it, on Debian 13, in a root made by debootstrap.
check-trixie:
	@tests/trixie.sh $(SUITES)

# The integration suite under what the shipped systemd unit leaves; as root.
check-sandbox: $(VENV)
	@$(CHECK) sandbox

# The Dockerfile's image, made by its own steps in roots by debootstrap, and
# started under the tightest of docker's restrictions; as root.
check-container: $(VENV)
	@contrib/deps.sh container
	@$(CHECK) container

# The programs and the unit tests, built by clang.
check-clang: deps-check build/clang/build.ninja
	ninja -C build/clang
	meson test -C build/clang --no-rebuild --suite unit --print-errorlogs

# What is committed, built in two places: the same programs?
check-reproducible: deps
	@tests/reproducible.sh

# What is linked into the programs, as an SPDX document.
sbom: PROGRAM = src/llm-proxyd src/llm-proxyctl
sbom: deps all
	@contrib/sbom.py build/release build/sbom.spdx.json

lint tidy: $(VENV)
	@$(CHECK) $@

asan: $(VENV)
	@$(CHECK) asan

tsan: $(VENV)
	@$(CHECK) tsan

fuzz: deps-check build-fuzz
	@set -e; for target in build/fuzz/tests/fuzz/*_fuzz; do \
	    name=$${target##*/}; corpus=build/fuzz/corpus/$$name; \
	    mkdir -p $$corpus; echo "== $$name"; \
	    $$target -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 \
	        -timeout=5 -rss_limit_mb=2048 \
	        -artifact_prefix=build/fuzz/ $$corpus \
	        $$(ls -d tests/fuzz/corpus/$$name 2>/dev/null); \
	done

bench: deps-bench all build/bench-venv/.done \
    $(if $(filter litellm,$(ROW)),build/litellm-venv/.done)
	python3 tests/bench/bench.py $(if $(ROW),--row $(ROW))

# What it costs to have as many streams open as this machine allows.
scale: deps-bench all build/bench-venv/.done
	python3 tests/bench/bench.py --row scale --picture contrib/scale.svg

build/litellm-venv/.done: tests/bench/litellm.txt
	python3 -m venv build/litellm-venv && build/litellm-venv/bin/pip install \
	    -q --disable-pip-version-check -r $< && touch $@

# Without it the bench goes on, and says so.
build/bench-venv/.done: tests/bench/requirements.txt
	-python3 -m venv build/bench-venv && build/bench-venv/bin/pip install \
	    -q --disable-pip-version-check -r $< && touch $@

# WRITE=1: into contrib/HACKING.md.
counts: deps-check all
	python3 tests/bench/counts.py $(if $(WRITE),--write)

format:
	@$(CXX_FILES) | xargs clang-format -i

# What was built for other places is built again for these.
install-places: build/release/build.ninja
	@meson configure -Dprefix='$(PREFIX)' -Dsysconfdir='$(SYSCONFDIR)' \
	    build/release

install: install-places all
	DESTDIR='$(DESTDIR)' meson install -C build/release --no-rebuild

# The same bytes from the same commit.
dist:
	@mkdir -p build/dist
	git -c tar.umask=0022 archive --prefix=$(RELEASE)/ \
	    -o build/dist/$(RELEASE).tar HEAD
	gzip -9nf build/dist/$(RELEASE).tar

# Made from the release, beside it: the working tree stays as it is.
deb: deps-package dist
	@rm -rf build/deb && mkdir -p build/deb
	@cp build/dist/$(RELEASE).tar.gz \
	    build/deb/$(subst proxy-,proxy_,$(RELEASE)).orig.tar.gz
	@tar -xzf build/dist/$(RELEASE).tar.gz -C build/deb
	@cp -R contrib/debian build/deb/$(RELEASE)/debian
	cd build/deb/$(RELEASE) && dpkg-buildpackage -us -uc >../build.log 2>&1 \
	    || { tail -n 40 ../build.log >&2; exit 1; }
	@ls -l build/deb/*.deb

# As root: what Debian's own tools find, and the package's life in a root of
# Debian 12 that debootstrap makes.
check-deb: deb lint-deb
	@tests/packages/deb.sh bookworm build/deb

# The same on Debian 13: built in the root of check-trixie.
check-deb-trixie:
	@tests/trixie.sh --make deb lint-deb
	@tests/packages/deb.sh trixie build/trixie/build/deb

# The dbgsym package has Static-Built-Using, too, which no override reaches;
# what is Debian's newest standard depends on the release that builds.
lint-deb:
	lintian -EvI --pedantic --fail-on error,warning,info,pedantic \
	    --allow-root \
	    --suppress-tags unknown-field,out-of-date-standards-version \
	    build/deb/*.changes
	blhc --all build/deb/build.log

rpm: deps-package dist
	@contrib/rpm/build.sh build/dist/$(RELEASE).tar.gz

apk: dist
	@contrib/alpine/build.sh build/dist/$(RELEASE).tar.gz

# The rpm that was made last: rpmlint, and the same files as in the deb.
check-rpm: deps-package all
	@tests/packages/rpm.sh

# Every package, and every check of one; as root. Most of an hour.
packages:
	@tests/packages/all.sh

# The script of contrib/openrc under OpenRC; as root.
check-openrc: build-release
	@tests/packages/openrc.sh

deps:
	@contrib/deps.sh run

deps-check:
	@contrib/deps.sh run check

deps-bench:
	@contrib/deps.sh run bench

deps-package:
	@contrib/deps.sh run package

clean:
	rm -rf build

# Sanitized code optimised like a release takes four times as long to compile
# as it does so, and line numbers are all that a report needs.
QUICK = -Doptimization=g -Dc_args=-g1 -Dcpp_args=-g1
build/asan/build.ninja: SETUP = $(QUICK) -Db_sanitize=address,undefined \
	-Db_lundef=false
build/tsan/build.ninja: SETUP = $(QUICK) -Db_sanitize=thread -Db_lundef=false
build/fuzz/build.ninja: SETUP = -Db_sanitize=address,undefined \
	-Db_lundef=false -Dc_args=-fsanitize=fuzzer-no-link \
	-Dcpp_args=-fsanitize=fuzzer-no-link
build/fuzz/build.ninja build/clang/build.ninja: export CC = clang
build/fuzz/build.ninja build/clang/build.ninja: export CXX = clang++

build/%/build.ninja:
	@command -v meson >/dev/null || \
	    { echo "meson is missing: run 'make deps' first" >&2; exit 1; }
	meson setup --prefix='$(PREFIX)' --sysconfdir='$(SYSCONFDIR)' \
	    $(SETUP) build/$*

# TARGETS: only these of the build, not all of it.
build-asan build-tsan: build-%: build/%/build.ninja
	ninja -C build/$* $(TARGETS)

build-fuzz: build/fuzz/build.ninja
	ninja -C build/fuzz fuzz

build-release: build/release/build.ninja
	ninja -C build/release $(PROGRAM)
	@for name in llm-proxyd llm-proxyd-test llm-proxyctl; do \
	    ln -sfn release/src/$$name build/$$name; \
	done

$(VENV): $(REQUIREMENTS) | deps-check
	python3 -m venv build/venv
	build/venv/bin/pip install -q --disable-pip-version-check \
	    $(addprefix -r ,$(REQUIREMENTS))
	@touch $@

.PHONY: all run demo scale check check-trixie check-sandbox check-clang \
	packages lint tidy asan tsan fuzz bench counts format install-places install dist \
	deb check-deb check-deb-trixie lint-deb rpm check-rpm apk \
	check-openrc check-container check-reproducible sbom deps deps-check \
	deps-bench deps-package clean build-release build-asan build-tsan \
	build-fuzz
.PRECIOUS: build/%/build.ninja
.NOTPARALLEL:
