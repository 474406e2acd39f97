# SPDX-License-Identifier: ISC
noinst_LIBRARIES += libspool.a
libspool_a_SOURCES = \
	common/spool/checkpoint.h \
	common/spool/committer.h \
	common/spool/event.c common/spool/event.def common/spool/event.h \
	common/spool/evlog.h \
	common/spool/recover.h \
	common/spool/segment.h \
	common/spool/segtab.h \
	common/spool/sio.h common/spool/sio_mem.h \
	common/spool/spoolcheck.h
