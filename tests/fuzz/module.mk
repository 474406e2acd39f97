# SPDX-License-Identifier: ISC
# With --enable-fuzzing each target is a libFuzzer program; without, the same
# function is run over its corpus and some thousand mutations by make check.
if FUZZING
FUZZ_MAIN =
FUZZ_LINK = -fsanitize=fuzzer
else
FUZZ_MAIN = tests/fuzz/replay.c
FUZZ_LINK =
endif
EXTRA_DIST += tests/fuzz/replay.c tests/fuzz/crcfix.h tests/fuzz/fuzz.h \
	tests/fuzz/logstub.h \
	tests/fuzz/corpus tests/fuzz/dict

FUZZ_BINS = \
	tests/fuzz/fuzz_acct \
	tests/fuzz/fuzz_chan \
	tests/fuzz/fuzz_checkpoint \
	tests/fuzz/fuzz_conf \
	tests/fuzz/fuzz_conf_decode \
	tests/fuzz/fuzz_control \
	tests/fuzz/fuzz_ctl_headers \
	tests/fuzz/fuzz_pickup_file \
	tests/fuzz/fuzz_data_dec \
	tests/fuzz/fuzz_dnspkt \
	tests/fuzz/fuzz_dsn \
	tests/fuzz/fuzz_envelope \
	tests/fuzz/fuzz_event \
	tests/fuzz/fuzz_evlog \
	tests/fuzz/fuzz_intent \
	tests/fuzz/fuzz_ipc \
	tests/fuzz/fuzz_offset \
	tests/fuzz/fuzz_rcpt_result \
	tests/fuzz/fuzz_received \
	tests/fuzz/fuzz_record \
	tests/fuzz/fuzz_recover \
	tests/fuzz/fuzz_segment \
	tests/fuzz/fuzz_skipped \
	tests/fuzz/fuzz_smtp_addr \
	tests/fuzz/fuzz_smtp_client \
	tests/fuzz/fuzz_smtp_cmd \
	tests/fuzz/fuzz_smtp_hosts \
	tests/fuzz/fuzz_smtp_params \
	tests/fuzz/fuzz_smtp_reply \
	tests/fuzz/fuzz_smtp_stuff \
	tests/fuzz/fuzz_smtpd_session
check_PROGRAMS += $(FUZZ_BINS)
TESTS += tests/fuzz/run-fuzz
dist_check_SCRIPTS += tests/fuzz/run-fuzz

# So many seconds of each target, one after the other; libFuzzer needs a build
# with --enable-fuzzing --with-sanitizer=address,undefined CC=clang.
FUZZ_SECONDS = 60
.PHONY: fuzz
fuzz: $(FUZZ_BINS)
	srcdir=$(srcdir) $(srcdir)/tests/fuzz/run-fuzz $(FUZZ_SECONDS)

FUZZ_LIBS = $(LIB_CONF) $(LIBS_OS) $(PCRE2_LIBS)

tests_fuzz_fuzz_acct_SOURCES = tests/fuzz/fuzz_acct.c \
	acct/columns.c $(FUZZ_MAIN)
tests_fuzz_fuzz_acct_LDADD = $(FUZZ_LIBS)
tests_fuzz_fuzz_acct_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_chan_SOURCES = tests/fuzz/fuzz_chan.c $(FUZZ_MAIN)
tests_fuzz_fuzz_chan_LDADD = $(LIB_IPC) $(LIBS_OS)
tests_fuzz_fuzz_chan_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_checkpoint_SOURCES = tests/fuzz/fuzz_checkpoint.c $(FUZZ_MAIN)
tests_fuzz_fuzz_checkpoint_LDADD = $(LIB_SPOOL) $(LIBS_OS)
tests_fuzz_fuzz_checkpoint_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_conf_SOURCES = tests/fuzz/fuzz_conf.c $(FUZZ_MAIN)
tests_fuzz_fuzz_conf_LDADD = $(FUZZ_LIBS)
tests_fuzz_fuzz_conf_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_conf_decode_SOURCES = tests/fuzz/fuzz_conf_decode.c \
	$(FUZZ_MAIN)
tests_fuzz_fuzz_conf_decode_LDADD = $(FUZZ_LIBS)
tests_fuzz_fuzz_conf_decode_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_control_SOURCES = tests/fuzz/fuzz_control.c \
	qmgr/act.c qmgr/audit.c qmgr/children.c qmgr/control.c \
	qmgr/diagnose_cmd.c qmgr/explain.c qmgr/holds.c qmgr/ips.c \
	qmgr/jobs.c qmgr/limits.c qmgr/mismatch.c qmgr/move.c qmgr/orders.c \
	qmgr/pick.c qmgr/pools.c qmgr/priority.c qmgr/resolve.c qmgr/select.c \
	qmgr/show.c \
	qmgr/simulate_cmd.c qmgr/sources.c qmgr/trace.c qmgr/trash.c \
	qmgr/sums.c qmgr/walk.c qmgr/warmup.c \
	$(FUZZ_MAIN)
tests_fuzz_fuzz_control_LDADD = libsched.a $(FUZZ_LIBS) $(JANSSON_LIBS)
tests_fuzz_fuzz_control_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_pickup_file_SOURCES = tests/fuzz/fuzz_pickup_file.c \
	$(FUZZ_MAIN)
tests_fuzz_fuzz_pickup_file_LDADD = $(LIB_MAIL) $(LIBS_OS)
tests_fuzz_fuzz_pickup_file_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)
tests_fuzz_fuzz_ctl_headers_SOURCES = tests/fuzz/fuzz_ctl_headers.c \
	$(FUZZ_MAIN)
tests_fuzz_fuzz_ctl_headers_LDADD = $(LIB_MAIL) $(LIBS_OS)
tests_fuzz_fuzz_ctl_headers_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_data_dec_SOURCES = tests/fuzz/fuzz_data_dec.c $(FUZZ_MAIN)
tests_fuzz_fuzz_data_dec_LDADD = $(LIB_MAIL) $(LIBS_OS)
tests_fuzz_fuzz_data_dec_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_dnspkt_SOURCES = tests/fuzz/fuzz_dnspkt.c $(FUZZ_MAIN)
tests_fuzz_fuzz_dnspkt_LDADD = $(LIB_NET) $(LIBS_OS)
tests_fuzz_fuzz_dnspkt_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_dsn_SOURCES = tests/fuzz/fuzz_dsn.c $(FUZZ_MAIN)
tests_fuzz_fuzz_dsn_LDADD = $(LIB_MAIL) $(LIBS_OS)
tests_fuzz_fuzz_dsn_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_envelope_SOURCES = tests/fuzz/fuzz_envelope.c $(FUZZ_MAIN)
tests_fuzz_fuzz_envelope_LDADD = $(LIB_MAIL) $(LIBS_OS)
tests_fuzz_fuzz_envelope_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_event_SOURCES = tests/fuzz/fuzz_event.c $(FUZZ_MAIN)
tests_fuzz_fuzz_event_LDADD = $(LIB_SPOOL) $(LIBS_OS)
tests_fuzz_fuzz_event_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_evlog_SOURCES = tests/fuzz/fuzz_evlog.c $(FUZZ_MAIN)
tests_fuzz_fuzz_evlog_LDADD = $(LIB_SPOOL) $(LIBS_OS)
tests_fuzz_fuzz_evlog_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_intent_SOURCES = tests/fuzz/fuzz_intent.c $(FUZZ_MAIN)
tests_fuzz_fuzz_intent_LDADD = $(LIB_SPOOL) $(LIBS_OS)
tests_fuzz_fuzz_intent_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_ipc_SOURCES = tests/fuzz/fuzz_ipc.c $(FUZZ_MAIN)
tests_fuzz_fuzz_ipc_LDADD = $(LIB_IPC) $(LIBS_OS)
tests_fuzz_fuzz_ipc_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_offset_SOURCES = tests/fuzz/fuzz_offset.c $(FUZZ_MAIN)
tests_fuzz_fuzz_offset_LDADD = $(LIB_SPOOL) $(LIBS_OS)
tests_fuzz_fuzz_offset_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_rcpt_result_SOURCES = tests/fuzz/fuzz_rcpt_result.c \
	$(FUZZ_MAIN)
tests_fuzz_fuzz_rcpt_result_LDADD = $(LIB_MAIL) $(LIBS_OS)
tests_fuzz_fuzz_rcpt_result_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_received_SOURCES = tests/fuzz/fuzz_received.c $(FUZZ_MAIN)
tests_fuzz_fuzz_received_LDADD = $(LIB_MAIL) $(LIBS_OS)
tests_fuzz_fuzz_received_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_record_SOURCES = tests/fuzz/fuzz_record.c $(FUZZ_MAIN)
tests_fuzz_fuzz_record_LDADD = $(LIB_SPOOL) $(LIBS_OS)
tests_fuzz_fuzz_record_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_recover_SOURCES = tests/fuzz/fuzz_recover.c $(FUZZ_MAIN)
tests_fuzz_fuzz_recover_LDADD = $(LIB_SPOOL) $(LIBS_OS)
tests_fuzz_fuzz_recover_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_skipped_SOURCES = tests/fuzz/fuzz_skipped.c $(FUZZ_MAIN)
tests_fuzz_fuzz_skipped_LDADD = $(LIB_SPOOL) $(LIBS_OS)
tests_fuzz_fuzz_skipped_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)
tests_fuzz_fuzz_segment_SOURCES = tests/fuzz/fuzz_segment.c $(FUZZ_MAIN)
tests_fuzz_fuzz_segment_LDADD = $(LIB_SPOOL) $(LIBS_OS)
tests_fuzz_fuzz_segment_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_smtp_addr_SOURCES = tests/fuzz/fuzz_smtp_addr.c $(FUZZ_MAIN)
tests_fuzz_fuzz_smtp_addr_LDADD = $(LIB_MAIL) $(LIBS_OS)
tests_fuzz_fuzz_smtp_addr_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_smtp_client_SOURCES = tests/fuzz/fuzz_smtp_client.c \
	$(FUZZ_MAIN)
tests_fuzz_fuzz_smtp_client_LDADD = $(LIB_MAIL) $(LIBS_OS)
tests_fuzz_fuzz_smtp_client_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_smtp_cmd_SOURCES = tests/fuzz/fuzz_smtp_cmd.c $(FUZZ_MAIN)
tests_fuzz_fuzz_smtp_cmd_LDADD = $(LIB_MAIL) $(LIBS_OS)
tests_fuzz_fuzz_smtp_cmd_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_smtp_hosts_SOURCES = tests/fuzz/fuzz_smtp_hosts.c $(FUZZ_MAIN)
tests_fuzz_fuzz_smtp_hosts_LDADD = $(LIB_RESOLVER) $(LIBS_RESOLVER)
tests_fuzz_fuzz_smtp_hosts_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_smtp_params_SOURCES = tests/fuzz/fuzz_smtp_params.c \
	$(FUZZ_MAIN)
tests_fuzz_fuzz_smtp_params_LDADD = $(LIB_MAIL) $(LIBS_OS)
tests_fuzz_fuzz_smtp_params_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_smtp_reply_SOURCES = tests/fuzz/fuzz_smtp_reply.c $(FUZZ_MAIN)
tests_fuzz_fuzz_smtp_reply_LDADD = $(LIB_MAIL) $(LIBS_OS)
tests_fuzz_fuzz_smtp_reply_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_smtp_stuff_SOURCES = tests/fuzz/fuzz_smtp_stuff.c $(FUZZ_MAIN)
tests_fuzz_fuzz_smtp_stuff_LDADD = $(LIB_MAIL) $(LIBS_OS)
tests_fuzz_fuzz_smtp_stuff_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)

tests_fuzz_fuzz_smtpd_session_SOURCES = tests/fuzz/fuzz_smtpd_session.c \
	tests/unit/smtpd/stub_committer.c $(FUZZ_MAIN)
tests_fuzz_fuzz_smtpd_session_LDADD = libsmtpd.a $(FUZZ_LIBS)
tests_fuzz_fuzz_smtpd_session_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)
