# SPDX-License-Identifier: ISC
pkglibexec_PROGRAMS += acct/pinnace-acct
ACCT_PURE = \
	acct/columns.c acct/columns.h \
	acct/out.c acct/out.h \
	acct/writer.c acct/writer.h
acct_pinnace_acct_SOURCES = acct/main.c $(ACCT_PURE)
acct_pinnace_acct_LDADD = $(LIB_ALL) $(LIBS_OS)

# where acct and bounce stand in the event log
libspool_a_SOURCES += common/spool/offset.c common/spool/offset.h

check_PROGRAMS += tests/unit/acct/test_columns
TESTS += tests/unit/acct/test_columns tests/unit/acct/test_columns_python.py
dist_check_SCRIPTS += tests/unit/acct/test_columns_python.py
ACCT_TEST = tests/unit/acct/logmake.c tests/unit/acct/logmake.h
tests_unit_acct_test_columns_SOURCES = \
	tests/unit/acct/test_columns.c $(ACCT_TEST) $(ACCT_PURE)
tests_unit_acct_test_columns_LDADD = $(LIB_CONF) $(LIBS_CHECK)

# needs the program: automake's check builds all of it first
check_PROGRAMS += tests/unit/acct/test_acct
TESTS += tests/unit/acct/test_acct
tests_unit_acct_test_acct_SOURCES = \
	tests/unit/acct/test_acct.c $(ACCT_TEST) $(READER_TEST) $(ACCT_PURE)
tests_unit_acct_test_acct_LDADD = $(LIB_ALL) $(LIBS_CHECK)

check_PROGRAMS += tests/unit/spool/test_offset
TESTS += tests/unit/spool/test_offset
tests_unit_spool_test_offset_SOURCES = tests/unit/spool/test_offset.c
tests_unit_spool_test_offset_LDADD = $(LIB_SPOOL) $(LIBS_CHECK)
