# SPDX-License-Identifier: ISC
noinst_PROGRAMS += tests/bench/receiver tests/bench/loadgen
tests_bench_receiver_SOURCES = tests/bench/receiver.c \
	tests/bench/idset.c tests/bench/idset.h \
	tests/bench/script.c tests/bench/script.h
tests_bench_receiver_LDADD = $(LIB_BASE) $(LIBS_OS)
tests_bench_loadgen_SOURCES = tests/bench/loadgen.c
tests_bench_loadgen_LDADD = $(LIB_BASE) $(LIBS_OS)

dist_check_SCRIPTS += tests/bench/check-bench
TESTS += tests/bench/check-bench
EXTRA_DIST += tests/bench/README.md
EXTRA_DIST += tests/bench/bench tests/bench/peers.py
CLEANFILES += tests/bench/run/result.md tests/bench/run/result.json

# BENCHFLAGS are options of tests/bench/bench, see its --help.
.PHONY: bench
bench: all
	/usr/bin/python3 $(srcdir)/tests/bench/bench --build . \
		--pinnace-version $(PACKAGE_VERSION) $(BENCHFLAGS)
