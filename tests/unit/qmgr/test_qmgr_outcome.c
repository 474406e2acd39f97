/* SPDX-License-Identifier: ISC */
/*
 * The queue manager as a process: what becomes of recipients, who is told of
 * it, and what of records that cannot be read.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/msgid.h"
#include "tests/unit/qmgr/qrig.h"

static const struct env_rcpt two[] = {
    {.addr = {"r@there.test", 12}}, {.addr = {"q@there.test", 12}}};
static const struct envelope plain = {
    .sender = {"s@here.test", 11}, .rcpts = two, .nrcpts = 1};

static long long
status_of(const char *key)
{
	qrig_ctl(&rig, "show status");
	return qrig_number(&rig, key);
}

static struct ipc_commit
submit(const struct envelope *e)
{
	struct ipc_commit m;

	qpeer_write(&rig.smtpd, e, 0, &m);
	qpeer_commit(&rig.smtpd, &m, e);
	return m;
}

/* Up to the DELIVER; its number. */
static unsigned
deliver(const struct envelope *e, struct ipc_commit *m_r)
{
	unsigned n = rig.smtp.ndelivers;
	struct ipc_commit m = submit(e);

	qrig_deliver_wait(&rig, n + 1);
	ck_assert_uint_eq(rig.smtp.delivers[n].id, m.id);
	if (m_r != NULL)
		*m_r = m;
	return n;
}

/* ---- who is told ---- */

struct told {
	const char *sender;
	uint8_t notify;
	bool no_dsn; /* the peer has none */
	enum outcome outcome;
	bool bounces;
};

static void
result(unsigned n, const struct told *t)
{
	struct rcpt_result res = {.outcome = (uint8_t)t->outcome,
	    .notify = t->notify,
	    .relayed_no_dsn = t->no_dsn,
	    .code = t->outcome == OUT_DELIVERED ? 250 : 550,
	    .addr = SV("r@there.test"),
	    .orcpt = SV(""),
	    .status = t->outcome == OUT_DELIVERED ? SV("2.0.0") : SV("5.0.0"),
	    .text = SV("says the test")};
	unsigned char mem[512];
	struct wr w;

	wr_init(&w, mem, sizeof(mem));
	rcpt_result_put(&w, &res);
	ipc_send_result(rig.smtp.chan,
	    &(struct ipc_result){.seq = ++rig.smtp.seq,
		.session = rig.smtp.delivers[n].session,
		.id = rig.smtp.delivers[n].id,
		.sender = sv_from(t->sender),
		.envid = SV(""),
		.job = SV(""),
		.src_type = SV(""),
		.src_mta = SV(""),
		.host = SV(""), /* it never came so far */
		.host_ip = SV(""),
		.source_ip = SV(""),
		.esmtp = SV(""),
		.rcpts = sv_make(mem, w.n)});
	QWAIT(&rig, rig.smtp.acked == rig.smtp.seq);
}

START_TEST(test_result_who_is_told_of_it)
{
	static const struct told t[] = {
	    {"s@here.test", 0, false, OUT_PERMANENT, true},
	    {"", 0, false, OUT_PERMANENT, false},
	    {"s@here.test", NOTIFY_NEVER, false, OUT_PERMANENT, false},
	    {"s@here.test", NOTIFY_FAILURE, false, OUT_PERMANENT, true},
	    {"s@here.test", NOTIFY_DELAY, false, OUT_PERMANENT, false},
	    {"s@here.test", NOTIFY_SUCCESS, true, OUT_DELIVERED, true},
	    {"s@here.test", NOTIFY_SUCCESS, false, OUT_DELIVERED, false},
	    {"s@here.test", NOTIFY_FAILURE, true, OUT_DELIVERED, false},
	    {"", NOTIFY_SUCCESS, true, OUT_DELIVERED, false},
	};
	long long bouncing = 0;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		result(deliver(&plain, NULL), &t[i]);
		bouncing += t[i].bounces;
		ck_assert_msg(status_of("bounce") == bouncing, "row %zu", i);
	}
}
END_TEST

/* A text of the last ATTEMPT in the log. */
static const char *
attempt_text(size_t offset)
{
	static char text[EV_NAME_MAX + 1];
	struct sio *s = qrig_sio(&rig);
	struct evlog_reader *reader =
	    evlog_reader_open(s, EVLOG_FOLDER, (struct evlog_pos){0});
	struct evlog_record rec;

	text[0] = '\0';
	while (evlog_reader_next(reader, EVLOG_NO_LIMIT, &rec) ==
	       EVLOG_RECORD) {
		struct sv v;

		if (rec.type != EV_ATTEMPT)
			continue;
		memcpy(&v, (const char *)&rec.any.attempt + offset, sizeof(v));
		ck_assert(sv_to_cstr(v, text, sizeof(text)));
	}
	evlog_reader_close(&reader);
	sio_free(&s);
	return text;
}

/* A pattern makes a failure of what would be tried again: so it is told. */
START_TEST(test_result_that_a_pattern_hardens_has_a_permanent_status)
{
	static const struct {
		const char *status, *want;
	} t[] = {
	    {"4.2.1", "5.2.1"},
	    {"", ""},
	    {"4.200.100.300.17", "5.200.100.300.17"}, /* as long as may be */
	};

	qrig_conf(&rig, QRIG_CONF
	    "<smtp-pattern-list p>\nreply /gone/ bounce-rcpt\n"
	    "</smtp-pattern-list>\n<domain *>\nsmtp-pattern-list p\n"
	    "</domain>\n");
	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		qrig_result(&rig, deliver(&plain, NULL), OUT_TEMPORARY, 450,
		    t[i].status, "450 gone");
		QWAIT(&rig, rig.smtp.acked == rig.smtp.seq);
		ck_assert_int_eq(status_of("failed"), i + 1);
		ck_assert_str_eq(attempt_text(
				     offsetof(struct ev_attempt, status)),
		    t[i].want);
	}
}
END_TEST

/* ---- given up by us ---- */

/* All mail for that domain fails. */
static void
doom(unsigned nth)
{
	QWAIT(&rig, rig.resolver.nresolves == nth);
	ipc_send_route(rig.resolver.chan,
	    &(struct ipc_route){
		.token = rig.resolver.resolves[nth - 1].token,
		.status = ROUTE_NO_DOMAIN,
		.ttl_s = 60,
		.text = SV("no such domain"),
		.route = SV("")});
}

START_TEST(test_given_up_who_is_told_of_it)
{
	static const struct env_rcpt to[] = {
	    {.addr = {"r@a.test", 8}}, {.addr = {"r@b.test", 8}},
	    {.addr = {"r@c.test", 8}, .notify = NOTIFY_NEVER}};
	struct envelope e = plain;

	rig.resolver.answers = false;
	e.client_ip = SV("192.0.2.1");
	e.helo = SV("helo.test");
	e.client_name = SV("name.test");
	for (unsigned i = 0; i < 3; i++) {
		e.rcpts = &to[i];
		e.sender = i == 1 ? SV("") : plain.sender;
		(void)submit(&e);
		doom(i + 1);
		QWAIT(&rig, qrig_events(&rig, EV_ATTEMPT, NULL) == i + 1);
	}
	ck_assert_int_eq(status_of("bounce"), 1);
	ck_assert_int_eq(status_of("failed"), 3);
}
END_TEST

/* What the message asked for, if that was a pool. */
START_TEST(test_given_up_names_the_pool)
{
	static const struct {
		const char *vmta, *want;
	} t[] = {{"P", "p"}, {"v1", ""}, {"", ""}};
	struct envelope e = plain;

	qrig_conf(&rig, QRIG_CONF
	    "<virtual-mta v1>\n</virtual-mta>\n"
	    "<virtual-mta-pool p>\nvirtual-mta v1\n</virtual-mta-pool>\n");
	rig.resolver.answers = false;
	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct env_rcpt to = {0};
		char addr[16];

		snprintf(addr, sizeof(addr), "r@d%u.test", i);
		to.addr = sv_from(addr);
		e.vmta = sv_from(t[i].vmta);
		e.rcpts = &to;
		(void)submit(&e);
		doom(i + 1);
		QWAIT(&rig, qrig_events(&rig, EV_ATTEMPT, NULL) == i + 1);
		ck_assert_str_eq(
		    attempt_text(offsetof(struct ev_attempt, pool)),
		    t[i].want);
	}
}
END_TEST

/* Nobody would hear of what cannot be read. */
START_TEST(test_given_up_when_its_record_can_be_read)
{
	rig.resolver.answers = false;
	(void)submit(&plain);
	QWAIT(&rig, rig.resolver.nresolves == 1);
	qrig_fault(QF_READ, "segments", EIO);
	doom(1);
	QWAIT(&rig, qrig_logged(&rig, "so it is not given up now"));
	ck_assert_uint_eq(qrig_events(&rig, EV_ATTEMPT, NULL), 0);
	qrig_fault(QF_READ, "", 0);
	QWAIT(&rig, qrig_events(&rig, EV_ATTEMPT, NULL) == 1);
	ck_assert_int_eq(status_of("bounce"), 1);
}
END_TEST

/* ---- records that are damaged, or cannot be read ---- */

/* The last bytes of the body; or the envelope, too. */
static void
damage(const struct ipc_commit *m, bool all)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "segments/%010llu.seg",
	    (unsigned long long)m->segment);
	fd = openat(rig.spool, path, O_WRONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(
	    pwrite(fd, "!!!!!!!!", 8, (off_t)(m->offset + m->length - 16)), 8);
	if (all)
		ck_assert_int_eq(pwrite(fd, "!!!!!!!!", 8,
				     (off_t)(m->offset + RECORD_HEADER)),
		    8);
	close(fd);
}

static void
unreadable(unsigned n)
{
	qrig_result(&rig, n, OUT_UNREADABLE, 0, "4.3.0", "cannot be read");
	QWAIT(&rig, rig.smtp.acked == rig.smtp.seq);
}

START_TEST(test_damaged_record_is_kept_once_and_each_recipient_fails)
{
	struct envelope e = plain;
	struct ipc_commit m;
	unsigned n;

	e.nrcpts = 2;
	n = deliver(&e, &m);
	damage(&m, false);
	ck_assert_uint_eq(rig.smtp.delivers[n].n, 2);
	unreadable(n);
	ck_assert_uint_eq(qrig_events(&rig, EV_ATTEMPT, NULL), 2);
	ck_assert_int_eq(status_of("corrupt"), 1);
	ck_assert_int_eq(status_of("bounce"), 2);
	/* said again it is no news */
	unreadable(n);
	ck_assert_uint_eq(qrig_events(&rig, EV_ATTEMPT, NULL), 2);
}
END_TEST

START_TEST(test_damaged_record_that_cannot_be_kept_fails_too)
{
	static const enum qfault calls[] = {
	    QF_OPEN, QF_WRITE, QF_SYNC, QF_SYNC_DIR};

	for (unsigned i = 0; i < 4; i++) {
		struct ipc_commit m;
		unsigned n = deliver(&plain, &m);

		damage(&m, false);
		qrig_fault(calls[i], "corrupt", EIO);
		unreadable(n);
		qrig_fault(calls[i], "", 0);
		ck_assert_int_eq(status_of("bounce"), i + 1);
		ck_assert(qrig_logged(&rig, "corrupt/"));
	}
	ck_assert_uint_eq(qrig_logged_times(&rig, "cannot be written"), 4);
	ck_assert_int_eq(status_of("corrupt"), 4);
}
END_TEST

/* Whose it was, nobody knows. */
START_TEST(test_damaged_envelope_is_nobodys)
{
	struct ipc_commit m;

	rig.resolver.answers = false;
	m = submit(&plain);
	QWAIT(&rig, rig.resolver.nresolves == 1);
	damage(&m, true);
	doom(1);
	QWAIT(&rig, qrig_events(&rig, EV_ATTEMPT, NULL) == 1);
	ck_assert(qrig_logged(&rig, "its record is damaged"));
	ck_assert_int_eq(status_of("corrupt"), 1);
	ck_assert_int_eq(status_of("bounce"), 0);
}
END_TEST

/* What its intent file says stands, whoever can be told. */
START_TEST(test_in_doubt_record_that_cannot_be_read_is_so_still)
{
	uint32_t zero = 0;
	struct ipc_commit m;

	deliver(&plain, &m);
	ck_assert(intent_reserve(&rig.smtp.intent, 1));
	ck_assert_uint_ne(
	    intent_take(&rig.smtp.intent, m.id, &zero, 1), INTENT_NONE);
	qrig_fault(QF_READ, "segments", EIO);
	qpeer_leave(&rig.smtp);
	QWAIT(&rig, qrig_events(&rig, EV_ATTEMPT, NULL) == 1);
	qrig_fault(QF_READ, "", 0);
	ck_assert(qrig_logged(&rig, "in doubt to="));
	ck_assert_int_eq(status_of("inDoubt"), 1);
}
END_TEST

void
qmgr_tests_outcome(Suite *s)
{
	TCase *tc = qrig_tcase(s, "outcome");

	tcase_add_test(tc, test_result_who_is_told_of_it);
	tcase_add_test(
	    tc, test_result_that_a_pattern_hardens_has_a_permanent_status);
	tcase_add_test(tc, test_given_up_who_is_told_of_it);
	tcase_add_test(tc, test_given_up_names_the_pool);
	tcase_add_test(tc, test_given_up_when_its_record_can_be_read);
	tcase_add_test(
	    tc, test_damaged_record_is_kept_once_and_each_recipient_fails);
	tcase_add_test(tc, test_damaged_record_that_cannot_be_kept_fails_too);
	tcase_add_test(tc, test_damaged_envelope_is_nobodys);
	tcase_add_test(tc, test_in_doubt_record_that_cannot_be_read_is_so_still);
}
