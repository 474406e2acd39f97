# SPDX-License-Identifier: ISC
libmail_a_SOURCES += \
	common/mail/ctl_headers.c common/mail/ctl_headers.h \
	common/mail/data_dec.c common/mail/data_dec.h \
	common/mail/pickup_file.c common/mail/pickup_file.h \
	common/mail/received.c common/mail/received.h \
	common/mail/reply.c common/mail/reply.h \
	common/mail/rfc5322_date.c common/mail/rfc5322_date.h \
	common/mail/smtp_cmd.c common/mail/smtp_cmd.h

MAIL_SERVER_TESTS = tests/unit/mail/test_ctl_headers \
	tests/unit/mail/test_data_dec tests/unit/mail/test_pickup_file \
	tests/unit/mail/test_reply tests/unit/mail/test_smtp_cmd
check_PROGRAMS += $(MAIL_SERVER_TESTS)
TESTS += $(MAIL_SERVER_TESTS)
tests_unit_mail_test_ctl_headers_SOURCES = tests/unit/mail/test_ctl_headers.c
tests_unit_mail_test_ctl_headers_LDADD = $(LIB_MAIL) $(LIBS_CHECK)
tests_unit_mail_test_data_dec_SOURCES = tests/unit/mail/test_data_dec.c
tests_unit_mail_test_data_dec_LDADD = $(LIB_MAIL) $(LIBS_CHECK)
tests_unit_mail_test_pickup_file_SOURCES = tests/unit/mail/test_pickup_file.c
tests_unit_mail_test_pickup_file_LDADD = $(LIB_MAIL) $(LIBS_CHECK)
tests_unit_mail_test_reply_SOURCES = tests/unit/mail/test_reply.c
tests_unit_mail_test_reply_LDADD = $(LIB_MAIL) $(LIBS_CHECK)
tests_unit_mail_test_smtp_cmd_SOURCES = tests/unit/mail/test_smtp_cmd.c
tests_unit_mail_test_smtp_cmd_LDADD = $(LIB_MAIL) $(LIBS_CHECK)
