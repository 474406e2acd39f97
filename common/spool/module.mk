# SPDX-License-Identifier: ISC
noinst_LIBRARIES += libspool.a
libspool_a_SOURCES = \
	common/spool/event.c common/spool/event.def common/spool/event.h
