/* SPDX-License-Identifier: ISC */
#include <malloc.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/sys/clock.h"
#include "smtpd/server.h"
#include "smtpd/session.h"

#define CROWD_MIN 500u /* sessions of some 10 KB: not worth it for fewer */

void
server_init(struct server *srv, struct event_base *base)
{
	*srv = (struct server){ .base = base };
	TAILQ_INIT(&srv->sessions);
	TAILQ_INIT(&srv->waiting);
}

struct settings *
settings_hold(struct settings *st)
{
	st->refs++;
	return st;
}

void
settings_release(struct settings **stp)
{
	struct settings *st = *stp;

	*stp = NULL;
	if (st == NULL || --st->refs > 0)
		return;
	conf_free(&st->conf);
	free(st);
}

void
server_conf_set(struct server *srv, struct conf *conf)
{
	struct settings *st = calloc(1, sizeof(*st));

	if (st == NULL)
		mem_exhausted();
	st->conf = conf;
	st->refs = 1;
	settings_release(&srv->settings);
	srv->settings = st;
}

void
server_stop(struct server *srv)
{
	struct session *s, *next;

	srv->stopping = true;
	TAILQ_FOREACH_SAFE(s, &srv->sessions, link, next)
		session_resume(s);
}

void
server_on_ready(void *arg)
{
	struct server *srv = arg;
	struct session *s, *next;

	TAILQ_FOREACH_SAFE(s, &srv->waiting, wait_link, next) {
		if (!committer_can_accept(srv->committer))
			return;
		data_on_ready(s);
	}
}

unsigned
server_expected(void *arg)
{
	struct server *srv = arg;
	int64_t tick = clock_mono().us / EXPECT_US;

	if (tick != srv->expect_tick) {
		srv->expected[1] = tick == srv->expect_tick + 1 ?
		    srv->expected[0] : 0;
		srv->expected[0] = 0;
		srv->expect_tick = tick;
	}
	return srv->expected[0] + srv->expected[1];
}

void
server_session_gone(struct server *srv)
{
	srv->nsessions--;
	if (srv->most_sessions < CROWD_MIN ||
	    srv->nsessions > srv->most_sessions / 8)
		return;
	srv->most_sessions = srv->nsessions;
#ifdef __GLIBC__
	(void)malloc_trim(0);
#endif
}
