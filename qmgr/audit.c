/* SPDX-License-Identifier: ISC */
/*
 * The audit log: a line of JSON in spool/audit.log for each command that
 * changes something, when it is answered: who, when, what, and what came of
 * it. At AUDIT_MAX it becomes audit.old, in place of the one before. It is
 * written, not synced: a power cut may cost the last seconds, nothing else.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/str.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "qmgr/control.h"

#define AUDIT_NAME  "audit.log"
#define AUDIT_OLD   "audit.old"
#define AUDIT_MAX   ((uint64_t)4 << 20)
#define TAIL_MAX    ((size_t)1 << 20) /* of it that is shown at most */
#define ITEMS_MAX   10000u

struct audit {
	struct sio_file *file;
	uint64_t at;
};

/* Behind a line that a crash has cut, a new one begins. */
static bool
line_end(struct audit *a)
{
	char last = '\n';

	if (a->at > 0 && sio_read_all(a->file, &last, 1, a->at - 1) != 1)
		return false;
	if (last == '\n')
		return true;
	if (sio_pwrite(a->file, "\n", 1, a->at) != 0)
		return false;
	a->at++;
	return true;
}

static bool
audit_open(struct qmgr *q)
{
	struct audit *a = q->audit;

	if (a == NULL)
		a = q->audit = calloc(1, sizeof(*a));
	if (a == NULL || q->sio == NULL)
		return false;
	if (a->file != NULL)
		return true;
	a->file = sio_open(q->sio, AUDIT_NAME,
	    SIO_READ | SIO_WRITE | SIO_CREATE);
	if (a->file == NULL || sio_size(a->file, &a->at) != 0 ||
	    !line_end(a)) {
		sio_close(&a->file);
		return false;
	}
	return true;
}

static bool
audit_write(struct qmgr *q, const char *line, size_t n)
{
	struct audit *a;

	if (!audit_open(q))
		return false;
	a = q->audit;
	if (a->at + n > AUDIT_MAX) {
		sio_close(&a->file);
		if (sio_rename(q->sio, AUDIT_NAME, AUDIT_OLD) != 0 ||
		    !audit_open(q))
			return false;
	}
	if (sio_pwrite(a->file, line, n, a->at) != 0) {
		sio_close(&a->file); /* its end is looked for again */
		return false;
	}
	a->at += n;
	return true;
}

void
audit_close(struct qmgr *q)
{
	if (q->audit != NULL)
		sio_close(&q->audit->file);
	free(q->audit);
	q->audit = NULL;
}

void
audit_note(struct client *cl, unsigned status, struct sv text)
{
	json_t *o = json_object();
	char mem[4096], *line;
	struct str s;
	size_t n;

	STR_ON(&s, mem);
	for (unsigned i = 0; i < cl->ntexts; i++) {
		str_adds(&s, i > 0 ? " " : "");
		str_adds(&s, cl->texts[i]);
	}
	json_object_set_new(o, "time", json_time(clock_wall().us));
	json_object_set_new(o, "uid", json_integer(cl->uid));
	json_object_set_new(o, "command", json_sv(str_sv(&s)));
	json_object_set_new(o, "result", json_string(status == 0 ? "done" :
	    status == 1 ? "failed" : "misuse"));
	json_object_set_new(o, "text", json_sv(sv_trim(text)));
	line = json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII);
	json_decref(o);
	if (line == NULL) /* GCOVR_EXCL_BR_LINE: memory */
		return;
	n = strlen(line);
	line[n] = '\n'; /* in place of its NUL */
	if (!audit_write(cl->q, line, n + 1) &&
	    cl->q->sio != NULL)
		log_warn_errno("%s cannot be written", AUDIT_NAME);
	free(line);
}

/* ---- show audit ---- */

/* The end of that file, in front of what b holds. */
static void
tail_read(struct qmgr *q, const char *name, struct buf *b)
{
	struct sio_file *f = sio_open(q->sio, name, SIO_READ);
	size_t room = TAIL_MAX - buf_len(b), n;
	struct buf all;
	unsigned char *p;
	uint64_t size;
	ssize_t got = -1;

	if (f == NULL)
		return;
	buf_init(&all, 2 * TAIL_MAX);
	if (sio_size(f, &size) == 0) {
		n = size < room ? (size_t)size : room;
		p = buf_reserve(&all, n + 1);
		if (p != NULL)
			got = sio_read_all(f, p, n, size - n);
	}
	sio_close(&f);
	if (got > 0)
		buf_commit(&all, (size_t)got);
	if (buf_add_sv(&all, buf_sv(b)) != 0) { /* GCOVR_EXCL_BR_LINE: memory */
		buf_fini(&all);
		return;
	}
	buf_fini(b);
	*b = all;
}

static size_t
lines_count(struct sv v)
{
	size_t n = 0;

	for (size_t i = 0; i < v.n; i++)
		n += v.p[i] == '\n';
	return n;
}

/* The oldest of them first. A line that is cut is none. */
static uint64_t
lines_show(struct client *cl, struct sv v, uint64_t most)
{
	size_t n = lines_count(v);
	uint64_t shown = 0;

	while (v.n > 0 && n > 0) {
		struct sv line = sv_cut(&v, '\n');
		json_t *row;

		if (n-- > most)
			continue;
		row = json_loadb(line.p, line.n, 0, NULL);
		if (!json_is_object(row)) {
			json_decref(row);
			continue;
		}
		client_row(cl, row);
		shown++;
	}
	return shown;
}

void
cmd_show_audit(struct client *cl, const struct words *w)
{
	struct selector s;
	struct buf b;
	uint64_t n;

	if (!selector_parse(cl, w, &s))
		return;
	buf_init(&b, 2 * TAIL_MAX);
	if (cl->q->sio != NULL) {
		tail_read(cl->q, AUDIT_NAME, &b);
		if (lines_count(buf_sv(&b)) < s.maxitems)
			tail_read(cl->q, AUDIT_OLD, &b);
	}
	n = lines_show(cl, buf_sv(&b), s.maxitems < ITEMS_MAX ? s.maxitems :
	    ITEMS_MAX);
	buf_fini(&b);
	client_end(cl, 0, "%llu commands", (unsigned long long)n);
}
