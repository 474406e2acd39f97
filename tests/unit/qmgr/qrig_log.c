/* SPDX-License-Identifier: ISC */
/* Events that the test writes to the log of a qmgr that stopped. */
#include <stdlib.h>

#include "common/base/msgid.h"
#include "common/spool/checkpoint.h"
#include "common/spool/recover.h"
#include "tests/unit/qmgr/qrig.h"

static void
on_event(
    void *arg, enum ev_type type, const union ev_any *e, struct evlog_pos at)
{
	(void)arg;
	(void)type;
	(void)e;
	(void)at;
}

static void
on_found(void *arg, const struct record *r)
{
	(void)arg;
	(void)r;
}

static void
on_problem(void *arg, const char *text)
{
	(void)arg;
	ck_abort_msg("%s", text);
}

static struct sio *spool;
static struct evlog *evlog;

void
qlog_begin(void)
{
	static const struct recover_ops ops = {.on_event = on_event,
	    .on_found = on_found,
	    .on_problem = on_problem};
	struct recover_stats stats;

	spool = qrig_sio(&rig);
	ck_assert_int_eq(spool_recover(spool, &ops, NULL, &stats), 0);
	evlog = evlog_open(spool, stats.end);
	ck_assert_ptr_nonnull(evlog);
}

void
qlog_add(enum ev_type type, union ev_any e)
{
	ck_assert_int_eq(evlog_append(evlog, type, &e), 0);
}

void
qlog_commit(const struct ipc_commit *m, const struct sv *domain,
    uint64_t dsn_for)
{
	qlog_add(EV_ACCEPT,
	    (union ev_any){.accept = {.id = m->id,
			       .segment = m->segment,
			       .offset = m->offset,
			       .length = m->length,
			       .arrival_us = m->arrival_us,
			       .vmta = SV("{default}"),
			       .dsn_for = dsn_for,
			       .domains = {.array = domain, .n = 1}}});
}

void
qlog_accept(uint64_t segment, uint64_t offset, uint64_t length,
    uint64_t dsn_for)
{
	static const struct sv domain = {"a.test", 6};
	struct ipc_commit m = {.id = msgid_make(segment, offset),
	    .segment = segment,
	    .offset = offset,
	    .length = length,
	    .arrival_us = (uint64_t)clock_wall().us};

	qlog_commit(&m, &domain, dsn_for);
}

void
qlog_end(void)
{
	ck_assert_int_eq(evlog_sync(evlog), 0);
	evlog_free(&evlog);
	sio_free(&spool);
}

struct evlog_pos
qlog_at(void)
{
	return evlog_position(evlog);
}

void
qlog_lose(void)
{
	struct sio *s = qrig_sio(&rig);
	char path[SIO_PATH_MAX];
	uint64_t *list;
	size_t n;

	ck_assert_int_eq(checkpoint_list(s, &list, &n), 0);
	ck_assert_uint_gt(n, 0);
	ck_assert_int_eq(sio_unlink(s, sio_path(path, EVLOG_FOLDER,
	    list[n - 1], EVLOG_SUFFIX)), 0);
	free(list);
	sio_free(&s);
}
