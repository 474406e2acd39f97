# SPDX-License-Identifier: ISC
# Loaded into the real programs by tests/fault/test_*: never instrumented
# itself, so without the build's own flags.
noinst_DATA += tests/fault/faultlib.so
tests/fault/faultlib.so: $(srcdir)/tests/fault/faultlib.c
	@$(MKDIR_P) tests/fault
	$(AM_V_CC)$(CC) -D_GNU_SOURCE -O1 -g -Wall -Wextra -shared -fPIC \
		-o $@ $(srcdir)/tests/fault/faultlib.c -ldl
CLEANFILES += tests/fault/faultlib.so
EXTRA_DIST += tests/fault/faultlib.c tests/fault/faults.py
