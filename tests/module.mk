# SPDX-License-Identifier: ISC
dist_check_SCRIPTS += tests/layers
TESTS += tests/layers
# Check gives each test 4 seconds; a busy machine may need more.
AM_TESTS_ENVIRONMENT = CK_DEFAULT_TIMEOUT=60; export CK_DEFAULT_TIMEOUT;
EXTRA_DIST += tests/model

# The long forms of tests: one line each, run in this order by check-long,
# from the build directory. $(S) is the source directory, $(B) the build's.
S = $(abs_top_srcdir)
B = $(abs_top_builddir)
define LONG_TESTS
$(S)/tests/fault/test_kill $(B) 50 20
$(S)/tests/fault/test_supervision $(B) 500
$(S)/tests/fault/test_resources $(B) long
$(S)/tests/fault/test_malloc $(B) all
$(S)/tests/fault/test_clock $(B) long
$(S)/tests/fault/test_restarts $(B) 100
$(S)/tests/model/check-model long
$(S)/tests/fault/test_net_offsets $(B) 1
$(B)/tests/unit/spool/test_crash -l
$(S)/tests/unit/spool/mutants $(B)
$(S)/tests/fault/test_kill_points $(B) --all --instances 4
$(S)/tests/fault/test_storm $(B) --kills 2000 --trees 100 --instances 4
$(S)/tests/system/test_attacks $(B) long
$(S)/tests/fault/test_hostile_crowd $(B) 10000 600
endef
export LONG_TESTS

.PHONY: check-long
check-long: all
	$(MAKE) $(AM_MAKEFLAGS) check TESTS=
	$(S)/tests/run-list "$$LONG_TESTS"
EXTRA_DIST += tests/run-list tests/analyze tests/coverage

# Static analysis: gcc -fanalyzer, clang-tidy, cppcheck.
.PHONY: analyze
analyze: all
	$(S)/tests/analyze $(S) $(B)
