# SPDX-License-Identifier: ISC
noinst_LIBRARIES += libnet.a
libnet_a_SOURCES = \
	common/net/dnspkt.c common/net/dnspkt.h

check_PROGRAMS += tests/unit/net/test_dnspkt
TESTS += tests/unit/net/test_dnspkt
tests_unit_net_test_dnspkt_SOURCES = tests/unit/net/test_dnspkt.c
tests_unit_net_test_dnspkt_LDADD = $(LIB_NET) $(LIBS_CHECK)
