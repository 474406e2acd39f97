# SPDX-License-Identifier: ISC
# The resolver without its main(), for the program and its tests.
noinst_LIBRARIES += libresolver.a
libresolver_a_SOURCES = \
	delivery/resolver_cache.c delivery/resolver_cache.h \
	delivery/resolver_hosts.c delivery/resolver_hosts.h \
	delivery/resolver_query.c delivery/resolver_query.h \
	delivery/resolver_route.c delivery/resolver_route.h \
	delivery/resolver_self.c delivery/resolver_self.h
libresolver_a_CFLAGS = $(AM_CFLAGS) $(IDN2_CFLAGS)

LIB_RESOLVER = libresolver.a $(LIB_NET)
LIBS_RESOLVER = $(IDN2_LIBS) $(LIBS_OS)

pkglibexec_PROGRAMS += delivery/pinnace-resolver
delivery_pinnace_resolver_SOURCES = delivery/resolver.c
delivery_pinnace_resolver_LDADD = $(LIB_RESOLVER) $(LIBS_RESOLVER)

check_PROGRAMS += tests/unit/delivery/test_resolver
TESTS += tests/unit/delivery/test_resolver
tests_unit_delivery_test_resolver_SOURCES = \
	tests/unit/delivery/route_text.h tests/unit/delivery/test_resolver.c \
	tests/unit/delivery/fakens.c tests/unit/delivery/fakens.h
tests_unit_delivery_test_resolver_CFLAGS = $(AM_CFLAGS) $(LDNS_CFLAGS)
tests_unit_delivery_test_resolver_LDADD = $(LIB_RESOLVER) $(LIBS_CHECK) \
	$(LDNS_LIBS) $(LIBS_RESOLVER)

check_PROGRAMS += tests/unit/delivery/test_resolver_cache
TESTS += tests/unit/delivery/test_resolver_cache
tests_unit_delivery_test_resolver_cache_SOURCES = \
	tests/unit/delivery/test_resolver_cache.c
tests_unit_delivery_test_resolver_cache_LDADD = $(LIB_RESOLVER) \
	$(LIBS_CHECK) $(LIBS_RESOLVER)

# Starts delivery/pinnace-resolver.
check_PROGRAMS += tests/unit/delivery/test_resolver_process
TESTS += tests/unit/delivery/test_resolver_process
tests_unit_delivery_test_resolver_process_SOURCES = \
	tests/unit/delivery/route_text.h \
	tests/unit/delivery/test_resolver_process.c \
	tests/unit/delivery/fakens.c tests/unit/delivery/fakens.h
tests_unit_delivery_test_resolver_process_CFLAGS = $(AM_CFLAGS) $(LDNS_CFLAGS)
tests_unit_delivery_test_resolver_process_LDADD = $(LIB_NET) $(LIBS_CHECK) \
	$(LDNS_LIBS) $(LIBS_RESOLVER)
CLEANFILES += tests/unit/delivery/resolver.log tests/unit/delivery/nsd.log

EXTRA_DIST += doc/resolver.md
