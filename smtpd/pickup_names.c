/* SPDX-License-Identifier: ISC */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/ipc/heartbeat.h"
#include "common/sys/log.h"
#include "smtpd/pickup_private.h"

#define NAMES_MAX 100u /* like one that is taken */

bool
taken_name(char *out, size_t size, uint64_t id, int64_t arrival_us,
    const char *name)
{
	int n = snprintf(out, size, TAKEN "%016llx-%016llx-%s",
	    (unsigned long long)id, (unsigned long long)arrival_us, name);

	return n > 0 && (size_t)n < size;
}

/* 16 digits and a hyphen. */
static bool
hex_take(const char **at, uint64_t *out)
{
	*out = 0;
	for (int i = 0; i < 16; i++, (*at)++) {
		const char *digit = **at == '\0' ? NULL :
		    strchr("0123456789abcdef", **at);

		if (digit == NULL)
			return false;
		*out = *out << 4 |
		    (uint64_t)(digit - strchr("0123456789abcdef", '0'));
	}
	return *(*at)++ == '-';
}

const char *
taken_parse(const char *now, uint64_t *id_r, int64_t *arrival_r)
{
	const char *at = now + strlen(TAKEN);
	uint64_t arrival;

	if (strncmp(now, TAKEN, strlen(TAKEN)) != 0 || !hex_take(&at, id_r) ||
	    !hex_take(&at, &arrival) || *at == '\0')
		return NULL;
	*arrival_r = (int64_t)arrival;
	return at;
}

/* There may be a file of that name by now: whoever puts them there sees that
 * the old one is gone. */
int
name_give(int from_dir, const char *from, int to_dir, const char *name)
{
	char to[NAME_MAX + 1];
	int rc = renameat2(from_dir, from, to_dir, name, RENAME_NOREPLACE);

	for (unsigned i = 1; i < NAMES_MAX && rc != 0 && errno == EEXIST;
	    i++) {
		(void)snprintf(to, sizeof(to), "%.*s.%u",
		    (int)NAME_KEEP_MAX - 4, name, i);
		rc = renameat2(from_dir, from, to_dir, to, RENAME_NOREPLACE);
	}
	return rc;
}

static void
doubt_add(struct pickup *p, const char *now)
{
	struct doubt *d = calloc(1, sizeof(*d));

	if (d == NULL)
		mem_exhausted();
	if (taken_parse(now, &d->id, &d->arrival_us) == NULL) {
		free(d);
		return;
	}
	(void)snprintf(d->now, sizeof(d->now), "%s", now);
	SLIST_INSERT_HEAD(&p->doubts, d, link);
}

bool
doubts_find(struct pickup *p)
{
	int fd = openat(p->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	if (d == NULL) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	while ((e = readdir(d)) != NULL)
		doubt_add(p, e->d_name);
	closedir(d);
	return true;
}

void
doubts_free(struct pickup *p)
{
	struct doubt *d;

	while ((d = SLIST_FIRST(&p->doubts)) != NULL) {
		SLIST_REMOVE_HEAD(&p->doubts, link);
		free(d);
	}
}

/* An ID is never used twice; the time of arrival makes that no article of
 * faith. */
static void
accepted_note(struct pickup *p, const struct ev_accept *a)
{
	struct doubt *d;

	SLIST_FOREACH(d, &p->doubts, link)
		if (d->id == a->id && d->arrival_us == (int64_t)a->arrival_us)
			d->accepted = true;
}

/* False: the log cannot be read now. */
static bool
log_look(struct pickup *p, struct evlog_reader **r)
{
	struct evlog_record ev;

	if (evlog_reader_anew(r, p->limit))
		log_warn("pickup: the event log was made anew: files that "
		    "were under way may be taken in twice");
	for (;;) {
		heartbeat_beat();
		switch (evlog_reader_next(*r, p->limit, &ev)) {
		case EVLOG_RECORD:
			if (ev.type == EV_ACCEPT)
				accepted_note(p, &ev.any.accept);
			break;
		case EVLOG_END:
			return true;
		case EVLOG_MISSING:
		case EVLOG_DAMAGED:
			log_warn("pickup: a part of the event log is missing "
			    "or damaged: files that were under way may be "
			    "taken in twice");
			break;
		case EVLOG_ERROR:
			log_warn_errno("pickup: the event log");
			return false;
		}
	}
}

/* Removed, or free to be taken again. */
static void
doubt_end(struct pickup *p, const struct doubt *d)
{
	uint64_t id;
	int64_t arrival;
	const char *name = taken_parse(d->now, &id, &arrival);

	if (d->accepted ? unlinkat(p->dir, d->now, 0) != 0 :
	    name_give(p->dir, d->now, p->dir, name) != 0) {
		log_warn_errno("pickup: %s stays until the next start",
		    d->now);
		p->left += d->accepted;
		return;
	}
	log_info("pickup: %s was under way and is %s", name,
	    d->accepted ? "in the spool: removed" :
	    "not in the spool: it is taken again");
}

bool
doubts_resolve(struct pickup *p)
{
	struct evlog_reader *r;
	const struct doubt *d;
	bool ok;

	if (SLIST_EMPTY(&p->doubts))
		return true;
	r = evlog_reader_open(p->events, "", p->saved);
	if (r == NULL)
		return false;
	ok = log_look(p, &r);
	evlog_reader_close(&r);
	if (!ok)
		return false;
	SLIST_FOREACH(d, &p->doubts, link)
		doubt_end(p, d);
	doubts_free(p);
	return true;
}
