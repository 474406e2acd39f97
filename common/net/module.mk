# SPDX-License-Identifier: ISC
noinst_LIBRARIES += libnet.a
libnet_a_SOURCES = \
	common/net/dnspkt.c common/net/dnspkt.h
libnet_a_CFLAGS = $(AM_CFLAGS) $(LDNS_CFLAGS)
