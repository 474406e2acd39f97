# SPDX-License-Identifier: ISC
pkglibexec_PROGRAMS += smtpd/pinnace-smtpd
smtpd_pinnace_smtpd_SOURCES = smtpd/smtpd.c
smtpd_pinnace_smtpd_LDADD = libsmtpd.a $(LIB_CONF) $(LIBS_OS)
pkglibexec_PROGRAMS += smtpd/pinnace-pickup
smtpd_pinnace_pickup_SOURCES = smtpd/pickup_main.c
smtpd_pinnace_pickup_LDADD = libsmtpd.a $(LIB_CONF) $(LIBS_OS)

# A library, so that the tests have all but main().
noinst_LIBRARIES += libsmtpd.a
libsmtpd_a_SOURCES = \
	smtpd/body.c smtpd/body.h \
	smtpd/control.c \
	smtpd/data.c \
	smtpd/listener.c smtpd/listener.h \
	smtpd/pattern.c \
	smtpd/pickup.c smtpd/pickup.h smtpd/pickup_private.h \
	smtpd/pickup_names.c smtpd/pickup_take.c \
	smtpd/server.c smtpd/server.h \
	smtpd/session.c smtpd/session.h \
	smtpd/upstream.c smtpd/upstream.h \
	smtpd/verbs.c smtpd/verbs.h \
	smtpd/verb_data.c smtpd/verb_helo.c smtpd/verb_mail.c \
	smtpd/verb_rcpt.c smtpd/verb_simple.c

check_PROGRAMS += tests/unit/smtpd/test_session
TESTS += tests/unit/smtpd/test_session
tests_unit_smtpd_test_session_SOURCES = tests/unit/smtpd/test_session.c \
	tests/unit/smtpd/harness.h tests/unit/smtpd/session_tests.h \
	tests/unit/smtpd/stub_committer.c tests/unit/smtpd/stub_committer.h \
	tests/unit/smtpd/test_session_alias.c \
	tests/unit/smtpd/test_session_control.c \
	tests/unit/smtpd/test_session_dialogs.c \
	tests/unit/smtpd/test_session_limits.c \
	tests/unit/smtpd/test_session_model.c \
	tests/unit/smtpd/test_session_pattern.c
tests_unit_smtpd_test_session_LDADD = libsmtpd.a $(LIB_CONF) \
	$(LIBS_CHECK)

# runs smtpd/pinnace-smtpd of the build tree
check_PROGRAMS += tests/unit/smtpd/test_smtpd_process
TESTS += tests/unit/smtpd/test_smtpd_process
tests_unit_smtpd_test_smtpd_process_SOURCES = \
	tests/unit/smtpd/test_smtpd_process.c tests/unit/smtpd/fake_parent.h
tests_unit_smtpd_test_smtpd_process_LDADD = $(LIB_CONF) $(LIBS_CHECK)

check_PROGRAMS += tests/unit/smtpd/test_pickup
TESTS += tests/unit/smtpd/test_pickup
tests_unit_smtpd_test_pickup_SOURCES = tests/unit/smtpd/test_pickup.c \
	tests/unit/smtpd/harness.h \
	tests/unit/smtpd/stub_committer.c tests/unit/smtpd/stub_committer.h
tests_unit_smtpd_test_pickup_LDADD = libsmtpd.a $(LIB_CONF) $(LIBS_CHECK)
