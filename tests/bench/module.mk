# SPDX-License-Identifier: ISC
noinst_PROGRAMS += tests/bench/receiver tests/bench/loadgen
tests_bench_receiver_SOURCES = tests/bench/receiver.c \
	tests/bench/receiver.h tests/bench/receiver_message.c \
	tests/bench/receiver_options.c tests/bench/receiver_session.c \
	tests/bench/receiver_verbs.c tests/bench/idset.c tests/bench/idset.h \
	tests/bench/kit.c tests/bench/kit.h \
	tests/bench/script.c tests/bench/script.h
tests_bench_receiver_LDADD = $(LIB_BASE) $(LIBS_OS)
tests_bench_loadgen_SOURCES = tests/bench/loadgen.c \
	tests/bench/loadgen.h tests/bench/loadgen_conn.c \
	tests/bench/loadgen_message.c tests/bench/loadgen_options.c \
	tests/bench/loadgen_spool.c tests/bench/loadgen_stats.c \
	tests/bench/loadgen_text.c \
	tests/bench/kit.c tests/bench/kit.h
tests_bench_loadgen_LDADD = $(LIB_SPOOL) $(LIBS_OS)

dist_check_SCRIPTS += tests/bench/check-bench
TESTS += tests/bench/check-bench
EXTRA_DIST += tests/bench/README.md
EXTRA_DIST += tests/bench/bench tests/bench/measure.py tests/bench/peers.py
EXTRA_DIST += tests/bench/limits tests/bench/scale
CLEANFILES += tests/bench/run/result.md tests/bench/run/result.json

# BENCHFLAGS are options of tests/bench/bench, see its --help.
.PHONY: bench bench-scale
bench: all
	/usr/bin/python3 $(srcdir)/tests/bench/bench --build . \
		--pinnace-version $(PACKAGE_VERSION) $(BENCHFLAGS)

# SCALEFLAGS are options of tests/bench/scale, see its --help.
bench-scale: all
	/usr/bin/python3 $(srcdir)/tests/bench/scale --build . $(SCALEFLAGS)
