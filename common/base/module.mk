# SPDX-License-Identifier: ISC
noinst_LIBRARIES += libbase.a
libbase_a_SOURCES = \
	common/base/arena.c common/base/arena.h \
	common/base/buf.c common/base/buf.h \
	common/base/crc32c.c common/base/crc32c.h \
	common/base/htab.c common/base/htab.h \
	common/base/mem.c common/base/mem.h \
	common/base/msgid.c common/base/msgid.h \
	common/base/rw.c common/base/rw.h \
	common/base/siphash.c common/base/siphash.h \
	common/base/str.c common/base/str.h \
	common/base/sv.c common/base/sv.h \
	common/base/timeval.h

check_PROGRAMS += tests/unit/base/test_base
TESTS += tests/unit/base/test_base
tests_unit_base_test_base_SOURCES = tests/unit/base/test_base.c
tests_unit_base_test_base_LDADD = $(LIB_BASE) $(LIBS_CHECK)
