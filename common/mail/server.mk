# SPDX-License-Identifier: ISC
libmail_a_SOURCES += \
	common/mail/data_dec.c common/mail/data_dec.h \
	common/mail/received.c common/mail/received.h \
	common/mail/reply.c common/mail/reply.h \
	common/mail/rfc5322_date.c common/mail/rfc5322_date.h \
	common/mail/smtp_cmd.c common/mail/smtp_cmd.h
