/* SPDX-License-Identifier: ISC */
/* Random sequences of commands against a model. */
#include "tests/unit/smtpd/session_tests.h"

static uint32_t seed;

static uint32_t
rnd(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

struct model {
	bool greeted, mail, refused;
	uint32_t nrcpts;
};

/* Number of the last reply. */
static unsigned
turn(struct harness *h, const char *text)
{
	struct sv got;
	uint64_t code;
	char mem[600];

	harness_send(h, sv_from(text), 1 + rnd(100));
	got = harness_reply(h, mem, sizeof(mem));
	ck_assert(sv_to_u64(sv_head(got, 3), 599, &code));
	ck_assert_uint_eq(harness_reply(h, mem, sizeof(mem)).n, 0);
	return (unsigned)code;
}

static void
model_data(struct harness *h, struct model *m)
{
	static const struct {
		const char *text;
		bool good;
	} bodies[] = {
		{ "x\r\n.\r\n", true }, { ".\r\n", true },
		{ "x\ny\r\n.\r\n", false }, { "\r\n.\r.\r\n.\r\n", false },
	};
	static const enum commit_result results[] = {
		COMMIT_OK, COMMIT_OK, COMMIT_IO_ERROR, COMMIT_NO_SPACE,
	};
	size_t before = h->committer.submitted;
	uint32_t b = rnd(4);
	unsigned code = turn(h, "DATA\r\n");
	bool may = m->greeted && m->mail && m->nrcpts > 0;

	ck_assert_int_eq(code == 354, may);
	if (!may)
		return;
	h->result = results[rnd(4)];
	code = turn(h, bodies[b].text);
	ck_assert_int_eq(code == 250, bodies[b].good &&
	    h->result == COMMIT_OK);
	ck_assert_uint_eq(h->committer.submitted - before, bodies[b].good);
	if (bodies[b].good) {
		struct arena a;
		struct envelope e;

		arena_init(&a, 1u << 20);
		ck_assert(envelope_decode(buf_sv(&h->committer.env), &a, &e));
		ck_assert_uint_eq(e.nrcpts, m->nrcpts);
		arena_fini(&a);
	}
	m->mail = false;
	m->nrcpts = 0;
}

static void
model_step(struct harness *h, struct model *m)
{
	switch (rnd(10)) {
	case 0:
		ck_assert_uint_eq(turn(h, rnd(2) ? "EHLO c\r\n" :
		    "HELO c\r\n"), 250);
		*m = (struct model){ .greeted = true };
		break;
	case 1:
		ck_assert_uint_eq(turn(h, "RSET\r\n"), 250);
		m->mail = false;
		m->nrcpts = 0;
		break;
	case 2:
	case 3:
		if (turn(h, M) == 250) {
			ck_assert(m->greeted && !m->mail);
			m->mail = true;
			m->nrcpts = 0;
		} else {
			ck_assert(!m->greeted || m->mail);
		}
		break;
	case 4:
		ck_assert_uint_ge(turn(h, "MAIL FROM:<x>\r\n"), 500);
		break;
	case 5:
	case 6:
		if (turn(h, R) == 250) {
			ck_assert(m->greeted && m->mail);
			m->nrcpts++;
		} else {
			ck_assert(!m->greeted || !m->mail);
		}
		break;
	case 7:
		ck_assert_uint_ge(turn(h, "RCPT TO:<x@y.z>\r\n"), 500);
		break;
	case 8:
		turn(h, "VRFY x\r\n");
		break;
	default:
		model_data(h, m);
		break;
	}
}

START_TEST(test_session_random_sequences_follow_model)
{
	for (seed = 1; seed < 100000; seed += 997) {
		struct model m = { 0 };
		struct harness h;
		uint32_t keep = seed;

		harness_init(&h, HARNESS_CONF
		    "<source 0/0>\nmax-errors-per-session 0\n</source>\n");
		harness_connect(&h, "192.0.2.1");
		harness_pump(&h);
		buf_clear(&h.in);
		for (int i = 0; i < 80; i++)
			model_step(&h, &m);
		harness_fini(&h);
		ck_assert_uint_eq(h.srv.pool.nused, 0);
		seed = keep;
	}
}
END_TEST

void
session_tests_model(Suite *s)
{
	TCase *tc = tcase_create("model");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_session_random_sequences_follow_model);
	suite_add_tcase(s, tc);
}
