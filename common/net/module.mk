# SPDX-License-Identifier: ISC
noinst_LIBRARIES += libnet.a
libnet_a_SOURCES = \
	common/net/dnspkt.c common/net/dnspkt.h
libnet_a_CFLAGS = $(AM_CFLAGS) $(LDNS_CFLAGS)

check_PROGRAMS += tests/unit/net/test_dnspkt
TESTS += tests/unit/net/test_dnspkt
tests_unit_net_test_dnspkt_SOURCES = tests/unit/net/test_dnspkt.c
tests_unit_net_test_dnspkt_LDADD = $(LIB_NET) $(LDNS_LIBS) $(LIBS_CHECK)
