/* SPDX-License-Identifier: ISC */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "smtpd/pickup_private.h"

#define OFFSET_NAME "pickup"
#define LOOK_MS     500      /* between two looks into an empty directory */
#define HOLD_MS     10000    /* after a temporary failure */
#define SAVE_MS     5000     /* a restart reads at most so much again */

static void
look_in(struct pickup *p, int64_t ms)
{
	struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = (suseconds_t)(ms % 1000 * 1000) };

	event_add(p->timer, &tv);
}

static int64_t
now_ms(void)
{
	return clock_mono().us / US_PER_MS;
}

/* ---- the place in the log ---- */

/* What comes behind this is enough to tell of all files that are under way. */
static struct evlog_pos
position(const struct pickup *p)
{
	struct evlog_pos at = p->limit;

	for (unsigned i = 0; i < TAKERS; i++) {
		const struct taker *t = &p->takers[i];

		if (t->state != T_FREE && evlog_pos_cmp(t->began, at) < 0)
			at = t->began;
	}
	return at;
}

void
pickup_tell(struct pickup *p)
{
	if (p->saved.file != 0)
		p->ops->at(p->arg, p->saved);
}

/* Removed files must stay removed before the log may be cut behind them. */
static void
save(struct pickup *p)
{
	struct evlog_pos at = position(p);

	if (!p->resolved || p->left > 0 || at.file == 0 ||
	    evlog_pos_cmp(at, p->saved) == 0 || (p->saved.file == at.file &&
	    now_ms() - p->saved_ms < SAVE_MS))
		return;
	p->saved_ms = now_ms();
	if (fsync(p->dir) != 0 || offset_save(&p->store, at, SV("")) != 0) {
		log_warn_errno("pickup: the offset cannot be stored");
		return;
	}
	p->saved = at;
	pickup_tell(p);
}

static bool
store_open(struct pickup *p)
{
	struct buf none;

	if (p->store_open)
		return true;
	buf_init(&none, OFFSET_SLOT_SIZE);
	p->store_open = offset_open(&p->store, p->offsets, OFFSET_NAME,
	    &p->saved, &none) == 0;
	buf_fini(&none);
	if (!p->store_open)
		log_warn_errno("pickup: the offset cannot be read");
	return p->store_open;
}

/* What the process before this one left. False: not now. */
static bool
resolve(struct pickup *p)
{
	if (p->resolved)
		return true;
	doubts_free(p);
	p->resolved = store_open(p) && doubts_find(p) && doubts_resolve(p);
	if (p->resolved)
		pickup_tell(p);
	return p->resolved;
}

/* ---- the end of a file ---- */

/* It must not be in the way of others. */
static void
stuck_add(struct pickup *p, const char *name)
{
	struct stuck *s = p->nstuck < STUCK_MAX ? calloc(1, sizeof(*s)) : NULL;

	if (s == NULL) {
		p->waits = true;
		return;
	}
	(void)snprintf(s->name, sizeof(s->name), "%s", name);
	SLIST_INSERT_HEAD(&p->stuck, s, link);
	p->nstuck++;
}

static bool
is_stuck(const struct pickup *p, const char *name)
{
	const struct stuck *s;

	SLIST_FOREACH(s, &p->stuck, link)
		if (strcmp(s->name, name) == 0)
			return true;
	return false;
}

/* Under its name, or one that is free. */
static void
bad_move(struct pickup *p, const struct taker *t, struct sv why)
{
	int rc = name_give(p->dir, t->now, p->bad, t->name);
	char text[1024];

	log_safe(why, text, sizeof(text));
	if (rc == 0) {
		log_warn("pickup: %s is bad and was put aside: %s", t->name,
		    text);
		return;
	}
	log_warn_errno("pickup: %s is bad (%s), cannot be put aside and is "
	    "left alone until the next start", t->name, text);
	stuck_add(p, t->name);
}

static void
later(struct pickup *p, struct taker *t, struct sv why)
{
	char text[1024];

	if (strcmp(t->now, t->name) != 0 &&
	    name_give(p->dir, t->now, p->dir, t->name) != 0)
		log_warn_errno("pickup: %s cannot have its name back",
		    t->name);
	log_info("pickup: %s waits: %s", t->name,
	    log_safe(why, text, sizeof(text)));
	p->waits = true;
}

void
taker_done(struct taker *t, enum taken how, struct sv why)
{
	struct pickup *p = t->p;

	if (how == TAKEN_BAD && t->rename_failed)
		how = TAKEN_LATER; /* the session takes it for too large */
	if (how == TAKEN_BAD)
		bad_move(p, t, why);
	else if (how == TAKEN_LATER)
		later(p, t, why);
	else if (unlinkat(p->dir, t->now, 0) != 0) {
		log_warn_errno("pickup: %s is taken in and cannot be removed",
		    t->now);
		p->left++;
	}
	p->bytes -= buf_len(&t->text);
	p->nbusy--;
	taker_fini(t);
	if (p->stopping && p->nbusy == 0)
		p->ops->idle(p->arg);
	else
		look_in(p, p->waits ? HOLD_MS : 0);
}

/* ---- looking ---- */

static bool
is_under_way(const struct pickup *p, const char *name)
{
	for (unsigned i = 0; i < TAKERS; i++)
		if (p->takers[i].state != T_FREE &&
		    strcmp(p->takers[i].name, name) == 0)
			return true;
	return false;
}

static struct taker *
taker_free(struct pickup *p)
{
	for (unsigned i = 0; i < TAKERS; i++)
		if (p->takers[i].state == T_FREE)
			return &p->takers[i];
	return NULL;
}

/* False: no more now. */
static bool
name_take(struct pickup *p, const struct dirent *e)
{
	struct taker *t = taker_free(p);

	if (t == NULL || p->waits)
		return false;
	/* names with a dot in front are being written, or ours */
	if (e->d_name[0] == '.' || e->d_type == DT_DIR ||
	    is_under_way(p, e->d_name) || is_stuck(p, e->d_name))
		return true;
	if (strlen(e->d_name) > NAME_KEEP_MAX) {
		if (!p->complained)
			log_warn("pickup: a name of more than %u bytes: left "
			    "alone", NAME_KEEP_MAX);
		p->complained = true;
		return true;
	}
	return taker_start(t, e->d_name);
}

static void
look(struct pickup *p)
{
	int fd = openat(p->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	if (d == NULL) {
		if (!p->complained)
			log_warn_errno("pickup: the directory cannot be read");
		p->complained = true;
		if (fd >= 0)
			close(fd);
		return;
	}
	for (unsigned n = 0; n < SCAN_MAX && (e = readdir(d)) != NULL; n++)
		if (!name_take(p, e))
			break;
	closedir(d);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct pickup *p = arg;

	(void)fd;
	(void)what;
	p->waits = false;
	if (p->stopping || p->srv->settings == NULL || p->limit.file == 0)
		return;
	if (!resolve(p)) {
		look_in(p, HOLD_MS);
		return;
	}
	if (p->nbusy < TAKERS && committer_can_accept(p->srv->committer))
		look(p);
	save(p);
	/* a file that is through comes back at once */
	look_in(p, p->waits ? HOLD_MS : LOOK_MS);
}

/* ---- outside ---- */

struct pickup *
pickup_new(struct server *srv, const int fds[4], const struct pickup_ops *ops,
    void *arg)
{
	struct pickup *p = calloc(1, sizeof(*p));

	if (p == NULL)
		mem_exhausted();
	p->srv = srv;
	p->ops = ops;
	p->arg = arg;
	p->dir = fds[0];
	p->bad = fds[1];
	p->events = sio_os_new(fds[2]);
	p->offsets = sio_os_new(fds[3]);
	p->timer = event_new(srv->base, -1, 0, on_timer, p);
	if (p->events == NULL || p->offsets == NULL || p->timer == NULL)
		mem_exhausted();
	for (unsigned i = 0; i < TAKERS; i++)
		p->takers[i].p = p;
	return p;
}

void
pickup_free(struct pickup **pp)
{
	struct pickup *p = *pp;
	struct stuck *s;

	*pp = NULL;
	for (unsigned i = 0; i < TAKERS; i++)
		if (p->takers[i].state != T_FREE)
			taker_fini(&p->takers[i]);
	doubts_free(p);
	while ((s = SLIST_FIRST(&p->stuck)) != NULL) {
		SLIST_REMOVE_HEAD(&p->stuck, link);
		free(s);
	}
	if (p->store_open)
		offset_close(&p->store);
	sio_free(&p->events);
	sio_free(&p->offsets);
	event_free(p->timer);
	free(p);
}

/* Who may put files there may send to anybody and choose how. */
void
pickup_conf(struct pickup *p)
{
	static const struct route_addr nowhere;
	const struct conf *c = p->srv->settings->conf;

	p->src = *conf_source_get(c, &nowhere, SV("{pickup}"));
	p->src.smtp_service = true;
	p->src.always_allow_relaying = true;
	p->src.process_x_virtual_mta = true;
	p->src.process_x_job = true;
	p->src.max_errors_per_session = 0;
	p->src.max_commands_per_session = 0;
	p->remove_dot = conf_global(c)->pickup_remove_dot;
}

void
pickup_log_at(struct pickup *p, struct evlog_pos at)
{
	bool first = p->limit.file == 0;

	p->limit = at;
	if (first)
		look_in(p, 0);
}

void
pickup_stop(struct pickup *p)
{
	p->stopping = true;
	event_del(p->timer);
	if (p->nbusy == 0)
		p->ops->idle(p->arg);
}
