# SPDX-License-Identifier: ISC
libmail_a_SOURCES += \
	common/mail/dsn.c common/mail/dsn.h \
	common/mail/status.c common/mail/status.h \
	common/mail/utf8.c common/mail/utf8.h

check_PROGRAMS += tests/unit/mail/test_dsn tests/unit/mail/test_status
TESTS += tests/unit/mail/test_dsn tests/unit/mail/test_status
tests_unit_mail_test_dsn_SOURCES = tests/unit/mail/test_dsn.c
tests_unit_mail_test_dsn_LDADD = $(LIB_MAIL) $(LIBS_CHECK)
tests_unit_mail_test_status_SOURCES = tests/unit/mail/test_status.c
tests_unit_mail_test_status_LDADD = $(LIB_MAIL) $(LIBS_CHECK)
TESTS += tests/unit/mail/test_dsn_python.py
dist_check_SCRIPTS += tests/unit/mail/test_dsn_python.py
