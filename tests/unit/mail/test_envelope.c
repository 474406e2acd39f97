/* SPDX-License-Identifier: ISC */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "common/mail/envelope.h"

static struct buf bytes;
static struct arena arena;

static void
setup(void)
{
	buf_init(&bytes, 1u << 20);
	arena_init(&arena, 1u << 20);
}

static void
teardown(void)
{
	buf_fini(&bytes);
	arena_fini(&arena);
}

static bool
encode(const struct envelope *e)
{
	struct wr w;

	buf_clear(&bytes);
	wr_init_buf(&w, &bytes);
	envelope_encode(&w, e);
	return !w.failed;
}

static const struct env_group groups[] = {
	{ SV("v2"), SV(""), PRIORITY_DEFAULT },
	{ SV(""), SV("gate"), PRIORITY_DEFAULT },
};

static const struct env_rcpt rcpts[] = {
	{ .addr = SV("a@x.test"), .notify = NOTIFY_NEVER },
	{ .addr = SV("b@x.test"), .orcpt = SV("rfc822;b@y"), .group = 2 },
	{ .addr = SV("c@x.test"), .group = 1 },
};

static const struct envelope grouped = { .sender = SV("s@x.test"),
	.vmta = SV("v1"), .groups = groups, .ngroups = 2, .rcpts = rcpts,
	.nrcpts = 3 };

/* As every version before the second has written it. */
static const unsigned char plain[] =
    "\1" "\2\0\0\0"
    "\3\0\0\0" "s@x" "\0\0\0\0" "\2\0\0\0" "v1" "\1\0\0\0" "j"
    "\4\0\0\0" "smtp" "\0\0\0\0" "\0\0\0\0" "\0\0\0\0" "\0\0\0\0"
    "\0\0\0\0\0\0\0\0" "\0\0\0\0"
    "\1\0\0\0" "\5\0\0\0" "r@a.b" "\0\0\0\0" "\3";

START_TEST(test_envelope_without_groups_is_as_ever)
{
	struct envelope e;

	ck_assert(envelope_decode(sv_make(plain, sizeof(plain) - 1), &arena,
	    &e));
	ck_assert(sv_eq(e.sender, SV("s@x")));
	ck_assert(sv_eq(e.vmta, SV("v1")));
	ck_assert(sv_eq(envelope_vmta(&e, 0), SV("v1")));
	ck_assert_uint_eq(envelope_hold(&e, 0).n, 0);
	ck_assert_uint_eq(e.flags, ENV_SMTPUTF8);
	ck_assert_uint_eq(e.rcpts[0].notify, 3);
	ck_assert_uint_eq(e.ngroups, 0);
	ck_assert(encode(&e));
	ck_assert_uint_eq(buf_len(&bytes), sizeof(plain) - 1);
	ck_assert_mem_eq(buf_data(&bytes), plain, sizeof(plain) - 1);
}
END_TEST

START_TEST(test_envelope_groups_come_back)
{
	struct envelope e;

	ck_assert(encode(&grouped));
	ck_assert_uint_eq(buf_data(&bytes)[0], 2);
	ck_assert(envelope_decode(buf_sv(&bytes), &arena, &e));
	ck_assert_uint_eq(e.ngroups, 2);
	ck_assert(sv_eq(envelope_vmta(&e, 0), SV("v1")));
	ck_assert_uint_eq(envelope_hold(&e, 0).n, 0);
	ck_assert_uint_eq(envelope_vmta(&e, 1).n, 0);
	ck_assert(sv_eq(envelope_hold(&e, 1), SV("gate")));
	ck_assert(sv_eq(envelope_vmta(&e, 2), SV("v2")));
	ck_assert_uint_eq(envelope_hold(&e, 2).n, 0);
	ck_assert(sv_eq(e.rcpts[1].orcpt, SV("rfc822;b@y")));
	ck_assert_uint_eq(envelope_priority(&e, 0), PRIORITY_DEFAULT);
	ck_assert_uint_eq(envelope_priority(&e, 1), PRIORITY_DEFAULT);
	/* a recipient that is none */
	ck_assert(sv_eq(envelope_vmta(&e, 3), SV("v1")));
}
END_TEST

/* The third version; what is no priority is refused on both sides. */
START_TEST(test_envelope_priorities_come_back)
{
	struct env_group own[] = { groups[0], { SV(""), SV(""), 0 } };
	struct envelope e = grouped, got;
	unsigned char mem[512];
	size_t n, at;

	own[0].priority = PRIORITY_MAX;
	e.groups = own;
	ck_assert(encode(&e));
	ck_assert_uint_eq(buf_data(&bytes)[0], 3);
	ck_assert(envelope_decode(buf_sv(&bytes), &arena, &got));
	ck_assert_uint_eq(got.ngroups, 2);
	ck_assert_uint_eq(envelope_priority(&got, 0), PRIORITY_DEFAULT);
	ck_assert_uint_eq(envelope_priority(&got, 1), 0);
	ck_assert_uint_eq(envelope_priority(&got, 2), PRIORITY_MAX);
	ck_assert(sv_eq(envelope_vmta(&got, 2), SV("v2")));
	n = buf_len(&bytes);
	memcpy(mem, buf_data(&bytes), n);
	for (size_t i = 0; i < n; i++)
		ck_assert(!envelope_decode(sv_make(mem, i), &arena, &got));
	for (at = 0; mem[at] != PRIORITY_MAX; at++)
		ck_assert_uint_lt(at, n);
	mem[at] = PRIORITY_MAX + 1;
	ck_assert(!envelope_decode(sv_make(mem, n), &arena, &got));
	/* the second version says that as well, so this is none */
	own[1].priority = PRIORITY_DEFAULT;
	ck_assert(encode(&e));
	ck_assert_uint_eq(buf_len(&bytes), n);
	memcpy(mem, buf_data(&bytes), n);
	ck_assert(envelope_decode(sv_make(mem, n), &arena, &got));
	mem[at] = PRIORITY_DEFAULT;
	ck_assert(!envelope_decode(sv_make(mem, n), &arena, &got));
	own[0].priority = PRIORITY_MAX + 1;
	ck_assert(!encode(&e));
}
END_TEST

START_TEST(test_envelope_groups_cut_or_wrong_refused)
{
	struct env_rcpt wrong = { .addr = SV("a@x.test"), .group = 3 };
	struct envelope e = grouped, got;
	unsigned char mem[512];
	size_t n;

	e.rcpts = &wrong;
	e.nrcpts = 1;
	ck_assert(!encode(&e));
	e = grouped;
	e.ngroups = 0;
	ck_assert(!encode(&e));
	ck_assert(encode(&grouped));
	n = buf_len(&bytes);
	memcpy(mem, buf_data(&bytes), n);
	for (size_t i = 0; i < n; i++)
		ck_assert(!envelope_decode(sv_make(mem, i), &arena, &got));
	mem[n - 2] = 3; /* the last one's group */
	ck_assert(!envelope_decode(sv_make(mem, n), &arena, &got));
	mem[n - 2] = 1;
	ck_assert(envelope_decode(sv_make(mem, n), &arena, &got));
	mem[0] = 4; /* a version that is not there yet */
	ck_assert(!envelope_decode(sv_make(mem, n), &arena, &got));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("envelope");
	TCase *t = tcase_create("envelope");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_envelope_without_groups_is_as_ever);
	tcase_add_test(t, test_envelope_groups_come_back);
	tcase_add_test(t, test_envelope_priorities_come_back);
	tcase_add_test(t, test_envelope_groups_cut_or_wrong_refused);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
