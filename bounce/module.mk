# SPDX-License-Identifier: ISC
pkglibexec_PROGRAMS += bounce/pinnace-bounce
READER_TEST = tests/unit/acct/proc.c tests/unit/acct/proc.h
BOUNCE_PURE = bounce/job.c bounce/job.h
bounce_pinnace_bounce_SOURCES = \
	bounce/main.c \
	bounce/engine.c bounce/engine.h \
	$(BOUNCE_PURE)
bounce_pinnace_bounce_LDADD = $(LIB_ALL) $(LIBS_OS)

check_PROGRAMS += tests/unit/bounce/test_bounce
TESTS += tests/unit/bounce/test_bounce
tests_unit_bounce_test_bounce_SOURCES = \
	tests/unit/bounce/test_bounce.c $(READER_TEST) $(BOUNCE_PURE)
tests_unit_bounce_test_bounce_LDADD = $(LIB_ALL) $(LIBS_CHECK)
