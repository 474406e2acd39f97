/* SPDX-License-Identifier: ISC */
/*
 * The client against scripted servers, good and evil, on buffers: each case is
 * run with the server's bytes in pieces of several sizes.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mail/route.h"
#include "tests/unit/mail/client_play.h"

#define FIRST .from = 0, .to = 1
#define SECOND .from = 1, .to = 2
#define SERIAL .ehlo = "250-hi\r\n250 SIZE"

static const struct script scripts[] = {
	{ "all well", .nmsgs = 3, .want = { "DDD", "DDD", "DDD" } },
	{ "all well, serial", SERIAL, .nmsgs = 3,
	    .want = { "DDD", "DDD", "DDD" } },
	{ "HELO only", .ehlo = "502 no", .nmsgs = 2, .want = { "DDD", "DDD" } },
	{ "pipelining forbidden", .flags = SESSION_NO_PIPELINING, .nmsgs = 2,
	    .want = { "DDD", "DDD" } },

	/* greeting and hello */
	{ "greeting 4xx", .greeting = "450 busy", .nmsgs = 1, .want = { "" },
	    .why = END_GREETING_TEMP },
	{ "greeting 421", .greeting = "421 busy!", .nmsgs = 1, .want = { "" },
	    .why = END_GREETING_TEMP },
	{ "greeting 5xx", .greeting = "554 no", .nmsgs = 1, .want = { "" },
	    .why = END_GREETING_PERM },
	{ "greeting 3xx", .greeting = "354 what", .nmsgs = 1, .want = { "" },
	    .why = END_GREETING_TEMP },
	{ "no greeting", .greeting = "!", .nmsgs = 1, .want = { "" },
	    .why = END_GREETING_TEMP },
	{ "silence", .greeting = "~", .nmsgs = 1, .want = { "" },
	    .why = END_GREETING_TEMP },
	{ "garbage", .greeting = "SSH-2.0-OpenSSH", .nmsgs = 1, .want = { "" },
	    .why = END_GREETING_TEMP },
	{ "EHLO 4xx", .ehlo = "451 later", .nmsgs = 1, .want = { "" },
	    .why = END_GREETING_TEMP },
	{ "EHLO and HELO 5xx", .ehlo = "502 no", .helo = "550 no", .nmsgs = 1,
	    .want = { "" }, .why = END_GREETING_PERM },
	{ "EHLO dropped", .ehlo = "!", .nmsgs = 1, .want = { "" },
	    .why = END_GREETING_TEMP },
	{ "EHLO answered with our name", .ehlo = "250-HERE.test hi\r\n250 SIZE",
	    .nmsgs = 1, .want = { "" }, .why = END_GREETING_TEMP },
	{ "HELO answered with our name", .ehlo = "502 no",
	    .helo = "250 here.test", .nmsgs = 1, .want = { "" },
	    .why = END_GREETING_TEMP },
	{ "EHLO answered with a name like ours",
	    .ehlo = "250-here.test.x\r\n250 SIZE", .nmsgs = 1,
	    .want = { "DDD" } },
	{ "EHLO answered before it was asked",
	    .greeting = "220 hi\r\n250 PIPELINING", .at_once = true,
	    .nmsgs = 1, .want = { "" },
	    .why = END_GREETING_TEMP },

	/* MAIL */
	{ "MAIL 5xx", .mail = "550 5.7.1 not you", FIRST, .nmsgs = 2,
	    .want = { "PPP", "DDD" } },
	{ "MAIL 5xx, serial", .mail = "550 5.7.1 not you", SERIAL, FIRST,
	    .nmsgs = 2, .want = { "PPP", "DDD" } },
	{ "MAIL 4xx", .mail = "451 4.7.1 later", FIRST, .nmsgs = 2,
	    .want = { "TTT", "DDD" } },
	{ "MAIL 5xx but 354", .mail = "550 no", FIRST, .data = "354 go",
	    .dot = "250 took it", .nmsgs = 2, .want = { "PPP", "DDD" } },
	{ "MAIL 421", .mail = "421 closing!", FIRST, .nmsgs = 2,
	    .want = { "TTT", "" }, .why = END_421 },
	{ "second MAIL 421", .mail = "421 enough!", SECOND, .nmsgs = 3,
	    .want = { "DDD", "-", "" }, .why = END_LOST },
	{ "second MAIL 421, serial", .mail = "421 enough!", SECOND, SERIAL,
	    .nmsgs = 3, .want = { "DDD", "-", "" }, .why = END_LOST },
	{ "second MAIL 421 is the queue's", .mail = "421 enough!", SECOND,
	    .flags = SESSION_421_IS_QUEUE, .nmsgs = 3,
	    .want = { "DDD", "-", "" }, .why = END_421 },
	{ "MAIL 421 is the queue's", .mail = "421 closing!", FIRST, .nmsgs = 2,
	    .flags = SESSION_421_IS_QUEUE, .want = { "-", "" },
	    .why = END_421 },
	{ "MAIL 3xx", .mail = "354 go", FIRST, .nmsgs = 1, .want = { "LLL" },
	    .why = END_LOST },
	{ "MAIL dropped", .mail = "!", FIRST, .nmsgs = 2,
	    .want = { "LLL", "" }, .why = END_LOST },
	{ "second MAIL dropped", .mail = "!", SECOND, .nmsgs = 3,
	    .want = { "DDD", "-", "" }, .why = END_LOST },
	{ "MAIL silence", .mail = "~", FIRST, .nmsgs = 1, .want = { "LLL" },
	    .why = END_LOST },

	/* RCPT */
	{ "one refused", .rcpt = { NULL, "550 5.1.1 who", NULL }, .nmsgs = 2,
	    .want = { "DPD", "DPD" } },
	{ "one refused, serial", .rcpt = { NULL, "550 5.1.1 who", NULL },
	    SERIAL, .nmsgs = 2, .want = { "DPD", "DPD" } },
	{ "each its own", .rcpt = { "450 a", "550 b", "250 c" }, .nmsgs = 1,
	    .want = { "TPD" } },
	{ "251 and 551 not followed",
	    .rcpt = { "251 will forward", "551 try <x@y>", NULL }, .nmsgs = 1,
	    .want = { "DPD" } },
	{ "552 is temporary", .rcpt = { "552 5.2.2 full", NULL, NULL },
	    .nmsgs = 1, .want = { "TDD" } },
	{ "too many: untried", .rcpt = { NULL, "452 4.5.3 too many",
	    "552 too many" }, .nmsgs = 1, .want = { "DNN" } },
	{ "too many at the first", .rcpt = { "452 too many",
	    "452 too many", "452 too many" }, .nmsgs = 2,
	    .want = { "TTT", "TTT" } },
	{ "all refused, DATA refused", .rcpt = { "550 a", "450 b", "550 c" },
	    .data = "503 no recipients", .nmsgs = 2,
	    .want = { "PTP", "PTP" } },
	{ "all refused, serial", .rcpt = { "550 a", "450 b", "550 c" },
	    SERIAL, .nmsgs = 2, .want = { "PTP", "PTP" } },
	{ "all refused but 354", .rcpt = { "550 a", "450 b", "550 c" }, FIRST,
	    .data = "354 go", .dot = "250 whatever", .nmsgs = 2,
	    .want = { "PTP", "DDD" } },
	{ "all refused but 354 and drop", .rcpt = { "550 a", "450 b", "550 c" },
	    FIRST, .data = "354 go", .dot = "!", .nmsgs = 1,
	    .want = { "PTP" }, .why = END_LOST },
	{ "RCPT 421", .rcpt = { NULL, "421 closing!", NULL }, FIRST, .nmsgs = 2,
	    .want = { "TTT", "" }, .why = END_421 },
	{ "RCPT 421 after a refusal",
	    .rcpt = { "550 no", "421 closing!", NULL }, FIRST, .nmsgs = 1,
	    .want = { "PTT" }, .why = END_421 },
	{ "RCPT 421 after a refusal, the queue's",
	    .rcpt = { "550 no", "421 closing!", NULL }, FIRST, .nmsgs = 1,
	    .flags = SESSION_421_IS_QUEUE, .want = { "PNN" }, .why = END_421 },
	{ "RCPT dropped", .rcpt = { "550 no", NULL, "!" }, FIRST, .nmsgs = 1,
	    .want = { "PLL" }, .why = END_LOST },
	{ "RCPT garbage", .rcpt = { NULL, "\001\002\003", NULL }, FIRST,
	    .nmsgs = 1, .want = { "LLL" }, .why = END_LOST },
	{ "RCPT 3xx", .rcpt = { NULL, "333 x", NULL }, FIRST, .nmsgs = 1,
	    .want = { "LLL" }, .why = END_LOST },

	/* DATA */
	{ "DATA 5xx", .data = "554 no", FIRST, .nmsgs = 2,
	    .want = { "PPP", "DDD" } },
	{ "DATA 4xx, serial", .data = "451 no", SERIAL, FIRST, .nmsgs = 2,
	    .want = { "TTT", "DDD" } },
	{ "DATA 250", .data = "250 ok", FIRST, .nmsgs = 1,
	    .want = { "LLL" }, .why = END_LOST },
	{ "250 before the dot", .data = "354 go\r\n250 early", FIRST,
	    .at_once = true, .nmsgs = 2, .want = { "LLL", "" }, .why = END_LOST },
	{ "DATA 421", .data = "421 closing!", FIRST, .nmsgs = 2,
	    .want = { "TTT", "" }, .why = END_421 },
	{ "DATA 421 is the queue's", .data = "421 closing!", FIRST, .nmsgs = 1,
	    .flags = SESSION_421_IS_QUEUE, .want = { "-" }, .why = END_421 },
	{ "354 and drop", .data = "354 go!", FIRST, .nmsgs = 2,
	    .want = { "III", "-" }, .why = END_LOST },
	{ "354 and refusal at once", .data = "354 go\r\n552 too big!", FIRST,
	    .at_once = true, .nmsgs = 2, .want = { "PPP", "" }, .why = END_LOST },
	{ "354 and 421 at once", .data = "354 go\r\n421 closing!", FIRST,
	    .at_once = true, .nmsgs = 2, .want = { "TTT", "" }, .why = END_421 },
	{ "DATA dropped", .data = "!", FIRST, .nmsgs = 1, .want = { "LLL" },
	    .why = END_LOST },
	{ "DATA silence", .data = "~", FIRST, .nmsgs = 1, .want = { "LLL" },
	    .why = END_LOST },

	/* the dot */
	{ "dot 5xx", .dot = "554 5.6.0 spam", FIRST, .nmsgs = 2,
	    .want = { "PPP", "DDD" } },
	{ "dot 4xx", .dot = "451 4.3.0 disk", FIRST, .nmsgs = 2,
	    .want = { "TTT", "DDD" } },
	{ "dot 4xx, one was refused", .dot = "451 4.3.0 disk",
	    .rcpt = { "550 no", NULL, NULL }, FIRST, .nmsgs = 1,
	    .want = { "PTT" } },
	{ "dot 3xx", .dot = "354 more", FIRST, .nmsgs = 2,
	    .want = { "III", "-" }, .why = END_LOST },
	{ "dot 421", .dot = "421 closing!", FIRST, .nmsgs = 2,
	    .want = { "TTT", "-" }, .why = END_421 },
	{ "dot 421, serial", .dot = "421 closing!", SERIAL, FIRST, .nmsgs = 2,
	    .want = { "TTT", "" }, .why = END_421 },
	{ "dot dropped", .dot = "!", FIRST, .nmsgs = 2,
	    .want = { "III", "-" }, .why = END_LOST },
	{ "dot dropped, one was refused", .dot = "!",
	    .rcpt = { NULL, NULL, "550 no" }, FIRST, .nmsgs = 1,
	    .want = { "IIP" }, .why = END_LOST },
	{ "dot silence", .dot = "~", FIRST, .nmsgs = 1, .want = { "III" },
	    .why = END_LOST },
	{ "dot garbage", .dot = "yes", FIRST, .nmsgs = 1, .want = { "III" },
	    .why = END_LOST },
	{ "dot answered in lines", .dot = "250-2.0.0 a\r\n250 2.0.0 b",
	    .nmsgs = 2, .want = { "DDD", "DDD" } },
	{ "dot, then 421", .dot = "250 ok\r\n421 closing!", SERIAL, FIRST,
	    .at_once = true, .nmsgs = 2, .want = { "DDD", "" }, .why = END_LOST },

	/* RSET and QUIT */
	{ "RSET refused", .data = "554 no", .rset = "500 what", FIRST,
	    .nmsgs = 2, .want = { "PPP", "-" }, .why = END_LOST },
	{ "QUIT dropped", .quit = "!", .nmsgs = 1, .want = { "DDD" } },
	{ "QUIT refused", .quit = "500 never", .nmsgs = 1,
	    .want = { "DDD" } },
};

#define NSCRIPTS (sizeof(scripts) / sizeof(scripts[0]))

static void
check_outcomes(const struct script *s, const struct owner *o,
    const struct server *v, const struct smtp_client *c, size_t piece)
{
	ck_assert_msg(c->why == s->why, "%s/%zu: end %s, log %s", s->name,
	    piece, session_end_name(c->why), v->log);
	for (unsigned i = 0; i < s->nmsgs; i++) {
		char got[RCPTS + 1] = "";

		ck_assert_msg(o->returned[i] == (i < o->next), "%s/%zu: %u "
		    "handed back %u times", s->name, piece, i,
		    o->returned[i]);
		for (unsigned k = 0; k < RCPTS && o->returned[i] > 0; k++)
			got[k] = letter(&o->rcpts[i][k]);
		if (o->untried[i])
			strcpy(got, "-");
		ck_assert_msg(strcmp(got, s->want[i]) == 0,
		    "%s/%zu: message %u: %s, not %s; log %s", s->name, piece,
		    i, got, s->want[i], v->log);
	}
}

START_TEST(test_client_script_outcomes_of_each_recipient)
{
	static const size_t pieces[] = { 1, 2, 7, 100000 };
	struct smtp_client *c = malloc(sizeof(*c));

	for (unsigned i = scripts[_i].at_once ? 3 : 0; i < 4; i++) {
		struct owner o;
		struct server v;

		play(&scripts[_i], pieces[i], &o, &v, c);
		check_outcomes(&scripts[_i], &o, &v, c, pieces[i]);
		play_end(&o, &v);
	}
	free(c);
}
END_TEST

START_TEST(test_client_all_well_pipelines_as_it_should)
{
	static const char want[] =
	    "EHLO here.test|MAIL FROM:<s@x> SIZE=36|RCPT TO:<a@x>|"
	    "RCPT TO:<b@x>|RCPT TO:<c@x>|DATA|"
	    "MAIL FROM:<s@x> SIZE=36|RCPT TO:<a@x>|RCPT TO:<b@x>|"
	    "RCPT TO:<c@x>|DATA|QUIT|";
	struct script s = scripts[0];
	struct smtp_client c;
	struct owner o;
	struct server v;

	s.nmsgs = 2;
	play(&s, SIZE_MAX, &o, &v, &c);
	ck_assert_str_eq(v.log, want);
	ck_assert_uint_eq(v.nmessages, 2);
	ck_assert_uint_eq(o.ndots, 2);
	ck_assert_uint_eq(o.nup, 1);
	play_end(&o, &v);
}
END_TEST

START_TEST(test_client_refused_transaction_reset_before_next)
{
	struct script s = { "refused", .data = "554 no", .nmsgs = 2, FIRST,
		SERIAL };
	struct smtp_client c;
	struct owner o;
	struct server v;

	play(&s, SIZE_MAX, &o, &v, &c);
	ck_assert_ptr_nonnull(strstr(v.log, "DATA|RSET|MAIL"));
	play_end(&o, &v);
	/* after a refused MAIL there is nothing to reset */
	s.data = NULL;
	s.mail = "550 no";
	play(&s, SIZE_MAX, &o, &v, &c);
	ck_assert_ptr_null(strstr(v.log, "RSET"));
	play_end(&o, &v);
}
END_TEST

/* The server offers nothing; what needs an extension is not sent. */
static char
outcome_without_extensions(void (*change)(struct smtp_txn *t),
    const char *ehlo, const char **status_r)
{
	static char status[16];
	struct script s = { "bare", .ehlo = ehlo, .nmsgs = 1 };
	struct smtp_client c;
	struct owner o;
	struct server v = { .s = &s };
	struct buf in, out;
	char got;

	owner_init(&o, &s);
	change(&o.txns[0]);
	buf_init(&in, SMTP_CLIENT_IN_CAP);
	buf_init(&out, SMTP_CLIENT_OUT_CAP);
	ck_assert_int_eq(buf_add_sv(&in, SV("220 hi\r\n")), 0);
	smtp_client_init(&c, SV("h"), 0, &play_ops, &o);
	ck_assert(smtp_client_run(&c, &in, &out));
	buf_clear(&out);
	ck_assert_int_eq(buf_addf(&in, "%s\r\n", ehlo), 0);
	ck_assert(smtp_client_run(&c, &in, &out));
	snprintf(status, sizeof(status), "%.*s", SV_FMT(o.rcpts[0][0].status));
	*status_r = status;
	got = letter(&o.rcpts[0][0]);
	ck_assert_uint_eq(buf_len(&out) > 0, got == '?');
	buf_fini(&in);
	buf_fini(&out);
	play_end(&o, &v);
	return got;
}

static void
make_8bit(struct smtp_txn *t)
{
	t->has_8bit = true;
}

static void
make_utf8(struct smtp_txn *t)
{
	t->flags = ENV_SMTPUTF8;
}

static void
make_utf8_address(struct smtp_txn *t)
{
	for (unsigned i = 0; i < RCPTS; i++)
		t->rcpts[i].addr = SV("\303\244@x");
}

static void
make_bad_sender(struct smtp_txn *t)
{
	t->sender = SV("a@b>\r\nRCPT TO:<c@d");
}

static void
make_nothing(struct smtp_txn *t)
{
	(void)t;
}

START_TEST(test_client_extension_missing_permanent_unsent)
{
	static const struct {
		void (*change)(struct smtp_txn *t);
		const char *ehlo;
		char want;
		const char *status;
	} list[] = {
		{ make_nothing, "250 hi", '?', "" },
		{ make_nothing, "250-hi\r\n250 SIZE 36", '?', "" },
		{ make_nothing, "250-hi\r\n250 SIZE 35", 'P', "5.3.4" },
		{ make_8bit, "250 hi", 'P', "5.6.3" },
		{ make_8bit, "250-hi\r\n250 8BITMIME", '?', "" },
		{ make_utf8, "250 hi", 'P', "5.6.7" },
		{ make_utf8, "250-hi\r\n250 SMTPUTF8", '?', "" },
		{ make_utf8_address, "250 hi", 'P', "5.6.7" },
		{ make_bad_sender, "250 hi", 'P', "5.1.7" },
	};

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		const char *status;
		char got = outcome_without_extensions(list[i].change,
		    list[i].ehlo, &status);

		ck_assert_msg(got == list[i].want, "%zu: %c", i, got);
		ck_assert_str_eq(status, list[i].status);
	}
}
END_TEST

START_TEST(test_client_parameters_sent_when_offered)
{
	struct script s = { "dsn", .nmsgs = 1,
		.ehlo = "250-hi\r\n250-DSN\r\n250-8BITMIME\r\n"
		        "250-SMTPUTF8\r\n250 PIPELINING" };
	struct smtp_client c;
	struct owner o;
	struct server v = { .s = &s };
	struct buf in, out;

	owner_init(&o, &s);
	o.txns[0].flags = ENV_RET_HDRS | ENV_SMTPUTF8;
	o.txns[0].envid = SV("E+2B1");
	o.txns[0].has_8bit = true;
	o.rcpts[0][0].notify = NOTIFY_SUCCESS | NOTIFY_DELAY;
	o.rcpts[0][1].notify = NOTIFY_NEVER | NOTIFY_FAILURE;
	o.rcpts[0][2].orcpt = SV("rfc822;c@y");
	buf_init(&in, SMTP_CLIENT_IN_CAP);
	buf_init(&out, SMTP_CLIENT_OUT_CAP);
	smtp_client_init(&c, SV("h"), 0, &play_ops, &o);
	ck_assert_int_eq(buf_add_sv(&in, SV("220 hi\r\n")), 0);
	ck_assert(smtp_client_run(&c, &in, &out));
	buf_clear(&out);
	ck_assert_int_eq(buf_addf(&in, "%s\r\n", s.ehlo), 0);
	ck_assert(smtp_client_run(&c, &in, &out));
	ck_assert(sv_eq(buf_sv(&out),
	    SV("MAIL FROM:<s@x> BODY=8BITMIME SMTPUTF8 RET=HDRS "
	       "ENVID=E+2B1\r\nRCPT TO:<a@x> NOTIFY=SUCCESS,DELAY\r\n"
	       "RCPT TO:<b@x> NOTIFY=NEVER\r\n"
	       "RCPT TO:<c@x> ORCPT=rfc822;c@y\r\nDATA\r\n")));
	buf_fini(&in);
	buf_fini(&out);
	play_end(&o, &v);
}
END_TEST

/* Takes the client to the place where its dot is in the output. */
static void
to_the_dot(struct smtp_client *c, struct owner *o, const struct script *s,
    struct buf *in, struct buf *out)
{
	owner_init(o, s);
	buf_init(in, SMTP_CLIENT_IN_CAP);
	buf_init(out, SMTP_CLIENT_OUT_CAP);
	smtp_client_init(c, SV("h"), 0, &play_ops, o);
	ck_assert_int_eq(buf_add_sv(in, SV("220 hi\r\n")), 0);
	ck_assert(smtp_client_run(c, in, out));
	ck_assert_int_eq(buf_add_sv(in, SV("250-x\r\n250 PIPELINING\r\n")), 0);
	ck_assert(smtp_client_run(c, in, out));
	ck_assert_int_eq(buf_add_sv(in, SV("250 m\r\n250 a\r\n250 b\r\n250 c\r"
	                                   "\n354 go\r\n")), 0);
	buf_clear(out);
	ck_assert(smtp_client_run(c, in, out));
	ck_assert_uint_eq(o->ndots, 1);
}

START_TEST(test_client_lost_with_dot_unsent_is_not_in_doubt)
{
	struct script s = { "x", .nmsgs = 2 };
	struct smtp_client c;
	struct owner o;
	struct server v = { .s = &s };
	struct buf in, out;
	size_t behind_dot;
	const char *dot;

	for (size_t back = 0; back < 2; back++) {
		to_the_dot(&c, &o, &s, &in, &out);
		dot = memmem(buf_data(&out), buf_len(&out), "\r\n.\r\nMAIL",
		    9);
		ck_assert_ptr_nonnull(dot);
		behind_dot = buf_len(&out) -
		    (size_t)(dot + 5 - (const char *)buf_data(&out));
		smtp_client_lost(&c, behind_dot + back, false, SV(""));
		ck_assert_int_eq(letter(&o.rcpts[0][0]),
		    back == 0 ? 'I' : 'L');
		ck_assert(o.untried[1]);
		buf_fini(&in);
		buf_fini(&out);
		play_end(&o, &v);
	}
}
END_TEST

START_TEST(test_client_abandon_waits_for_dot_only)
{
	struct script s = { "x", .nmsgs = 3 };
	struct smtp_client c;
	struct owner o;
	struct server v = { .s = &s };
	struct buf in, out;

	to_the_dot(&c, &o, &s, &in, &out);
	ck_assert(smtp_client_abandon(&c));
	ck_assert(o.untried[1]);
	buf_clear(&out);
	ck_assert_int_eq(buf_add_sv(&in, SV("250 ok\r\n250 m\r\n550 a\r\n")),
	    0);
	ck_assert(smtp_client_run(&c, &in, &out));
	ck_assert_int_eq(letter(&o.rcpts[0][0]), 'D');
	ck_assert_uint_eq(buf_len(&out), 0);
	ck_assert_uint_eq(o.next, 2);
	/* a server that would take the abandoned body gets none */
	ck_assert_int_eq(buf_add_sv(&in, SV("250 b\r\n250 c\r\n354 go\r\n")),
	    0);
	ck_assert(!smtp_client_run(&c, &in, &out));
	ck_assert_uint_eq(buf_len(&out), 0);
	buf_fini(&in);
	buf_fini(&out);
	play_end(&o, &v);
}
END_TEST

START_TEST(test_client_endless_reply_ends_session)
{
	struct script s = { "x", .nmsgs = 1 };
	struct smtp_client c;
	struct owner o;
	struct server v = { .s = &s };
	struct buf in, out;
	unsigned lines = 0;

	to_the_dot(&c, &o, &s, &in, &out);
	do {
		ck_assert_uint_lt(lines++, 1000);
		ck_assert_int_eq(buf_add_sv(&in, SV("250-more\r\n")), 0);
	} while (smtp_client_run(&c, &in, &out));
	ck_assert_int_eq(letter(&o.rcpts[0][0]), 'I');
	ck_assert_int_eq(c.why, END_LOST);
	buf_fini(&in);
	buf_fini(&out);
	play_end(&o, &v);
}
END_TEST

START_TEST(test_command_add_injection_refused)
{
	static const struct {
		struct sv in;
		int want;
	} list[] = {
		{ { "NOOP", 4 }, 0 }, { { "NO\rOP", 5 }, -1 },
		{ { "NO\nOP", 5 }, -1 }, { { "NO\0OP", 5 }, -1 },
		{ { "NOOP\r\n", 6 }, -1 },
	};
	char longest[SMTP_COMMAND_MAX];
	struct buf out;

	buf_init(&out, 1 << 16);
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		ck_assert_int_eq(smtp_command_add(&out, list[i].in),
		    list[i].want);
	ck_assert(sv_eq(buf_sv(&out), SV("NOOP\r\n")));
	memset(longest, 'x', sizeof(longest));
	ck_assert_int_eq(smtp_command_add(&out,
	    sv_make(longest, SMTP_COMMAND_MAX - 2)), 0);
	ck_assert_int_eq(smtp_command_add(&out,
	    sv_make(longest, SMTP_COMMAND_MAX - 1)), -1);
	buf_fini(&out);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("smtp_client");
	TCase *t = tcase_create("client");
	SRunner *r;
	int failed;

	tcase_add_loop_test(t, test_client_script_outcomes_of_each_recipient,
	    0, (int)NSCRIPTS);
	tcase_add_test(t, test_client_all_well_pipelines_as_it_should);
	tcase_add_test(t, test_client_refused_transaction_reset_before_next);
	tcase_add_test(t, test_client_extension_missing_permanent_unsent);
	tcase_add_test(t, test_client_parameters_sent_when_offered);
	tcase_add_test(t, test_client_lost_with_dot_unsent_is_not_in_doubt);
	tcase_add_test(t, test_client_abandon_waits_for_dot_only);
	tcase_add_test(t, test_client_endless_reply_ends_session);
	tcase_add_test(t, test_command_add_injection_refused);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
