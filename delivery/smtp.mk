# SPDX-License-Identifier: ISC
# pinnace-smtp, the client that delivers to other hosts.
pkglibexec_PROGRAMS += delivery/pinnace-smtp
delivery_pinnace_smtp_SOURCES = \
	delivery/smtp.h \
	delivery/smtp_connect.c \
	delivery/smtp_delivery.c \
	delivery/smtp_main.c \
	delivery/smtp_result.c \
	delivery/smtp_session.c \
	delivery/smtp_trace.c
delivery_pinnace_smtp_LDADD = $(LIB_SPOOL) $(LIBS_OS)

check_PROGRAMS += tests/unit/delivery/test_smtp_process
TESTS += tests/unit/delivery/test_smtp_process
tests_unit_delivery_test_smtp_process_SOURCES = \
	tests/unit/delivery/sink.c tests/unit/delivery/sink.h \
	tests/unit/delivery/smtp_rig.c tests/unit/delivery/smtp_rig.h \
	tests/unit/delivery/test_smtp_process.c
tests_unit_delivery_test_smtp_process_LDADD = $(LIB_SPOOL) $(LIBS_CHECK)

check_PROGRAMS += tests/unit/delivery/test_smtp_connect
TESTS += tests/unit/delivery/test_smtp_connect
tests_unit_delivery_test_smtp_connect_SOURCES = \
	tests/unit/delivery/test_smtp_connect.c delivery/smtp_connect.c \
	delivery/smtp_trace.c
tests_unit_delivery_test_smtp_connect_LDADD = $(LIB_SPOOL) $(LIBS_CHECK)

check_PROGRAMS += tests/unit/spool/test_intent
TESTS += tests/unit/spool/test_intent
tests_unit_spool_test_intent_SOURCES = tests/unit/spool/test_intent.c
tests_unit_spool_test_intent_LDADD = $(LIB_SPOOL) $(LIBS_CHECK)
