# SPDX-License-Identifier: ISC
noinst_LIBRARIES += libsys.a
libsys_a_SOURCES = \
	common/sys/clock.c common/sys/clock.h \
	common/sys/conn.c common/sys/conn.h \
	common/sys/log.c common/sys/log.h \
	common/sys/offload.c common/sys/offload.h \
	common/sys/priv.c common/sys/priv.h

check_PROGRAMS += tests/unit/sys/test_conn
TESTS += tests/unit/sys/test_conn
tests_unit_sys_test_conn_SOURCES = tests/unit/sys/test_conn.c
tests_unit_sys_test_conn_LDADD = $(LIB_SYS) $(LIBS_CHECK)
