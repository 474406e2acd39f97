/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "acct/writer.h"
#include "common/base/str.h"
#include "common/sys/log.h"

#define OFFSET_NAME   "acct"
#define POISON_NAME   "acct.suspects"
#define STATE_VERSION 1

void
writer_init(struct writer *w, int events_fd, int offsets_fd, int dirfd)
{
	*w = (struct writer){ .dirfd = dirfd };
	w->events = sio_os_new(events_fd);
	w->offsets = sio_os_new(offsets_fd);
	if (w->events == NULL || w->offsets == NULL)
		fatal("out of memory");
	w->dlv_type = SV("smtp");
	if (poison_open(&w->poison, w->offsets, POISON_NAME) != 0)
		log_warn_errno("%s", POISON_NAME);
}

void
writer_blame(struct writer *w, struct sv why)
{
	const struct poison_item *it;
	char text[POISON_TEXT];
	struct str s;

	STR_ON(&s, text);
	str_add(&s, why);
	it = poison_blame_marked(&w->poison, text);
	if (it != NULL)
		log_warn("the acct before crashed on the event at %llu:%llu, "
		    "%s (%u times)", (unsigned long long)it->a,
		    (unsigned long long)it->b, it->why, it->crashes);
}

static void
outs_free(struct writer *w)
{
	for (size_t i = 0; i < w->nouts; i++)
		out_fini(&w->outs[i]);
	w->nouts = 0;
}

void
writer_fini(struct writer *w)
{
	outs_free(w);
	offset_close(&w->store);
	poison_close(&w->poison);
	evlog_reader_close(&w->reader);
	sio_free(&w->events);
	sio_free(&w->offsets);
}

/* ---- the stored state: marks by the name of their series ---- */

static void
marks_put(struct wr *wr, const struct writer *w)
{
	wr_u8(wr, STATE_VERSION);
	wr_u16(wr, (uint16_t)w->nouts);
	for (size_t i = 0; i < w->nouts; i++) {
		const struct out *o = &w->outs[i];

		wr_sv(wr, sv_from(o->stem), OUT_STEM_MAX);
		wr_sv(wr, sv_from(o->ext), sizeof(o->ext));
		wr_sv(wr, sv_from(o->live.name), OUT_NAME_MAX);
		wr_u64(wr, o->live.len);
		wr_u64(wr, o->live.begun_us);
		wr_u32(wr, o->live.header_crc);
		wr_u8(wr, o->live.open);
	}
}

static struct out *
out_find(struct writer *w, struct sv stem, struct sv ext)
{
	for (size_t i = 0; i < w->nouts; i++) {
		if (sv_eq(sv_from(w->outs[i].stem), stem) &&
		    sv_eq(sv_from(w->outs[i].ext), ext))
			return &w->outs[i];
	}
	return NULL;
}

static bool
marks_get(struct writer *w, struct sv bytes)
{
	struct rd r;
	unsigned n;

	rd_init(&r, bytes.p, bytes.n);
	if (rd_u8(&r) != STATE_VERSION)
		return false;
	n = rd_u16(&r);
	for (unsigned i = 0; i < n && !r.failed; i++) {
		struct out_mark m = { .len = 0 };
		struct sv stem = rd_sv(&r, OUT_STEM_MAX);
		struct sv ext = rd_sv(&r, OUT_STEM_MAX);
		struct sv name = rd_sv(&r, OUT_NAME_MAX);
		struct out *o = out_find(w, stem, ext);

		if (!sv_to_cstr(name, m.name, sizeof(m.name)) ||
		    sv_find(name, '/') >= 0)
			return false;
		m.len = rd_u64(&r);
		m.begun_us = rd_u64(&r);
		m.header_crc = rd_u32(&r);
		m.open = rd_u8(&r) != 0;
		if (o != NULL && !r.failed)
			o->saved = m;
	}
	return rd_done(&r);
}

static int
state_save(struct writer *w, struct evlog_pos pos)
{
	unsigned char mem[OFFSET_BYTES_MAX];
	struct wr wr;

	wr_init(&wr, mem, sizeof(mem));
	marks_put(&wr, w);
	if (wr.failed) {
		errno = EOVERFLOW;
		return -1;
	}
	if (offset_save(&w->store, pos, sv_make(mem, wr.n)) != 0)
		return -1;
	w->saved = pos;
	for (size_t i = 0; i < w->nouts; i++)
		w->outs[i].saved = w->outs[i].live;
	return 0;
}

static int
state_load(struct writer *w)
{
	struct buf bytes;
	int got;

	offset_close(&w->store);
	buf_init(&bytes, OFFSET_SLOT_SIZE);
	got = offset_open(&w->store, w->offsets, OFFSET_NAME, &w->saved,
	    &bytes);
	if (got == 0 && buf_len(&bytes) > 0 &&
	    !marks_get(w, buf_sv(&bytes)))
		log_warn("the state stored with the offset is not readable: "
		    "new files are begun");
	buf_fini(&bytes);
	return got;
}

void
writer_clock(struct writer *w, struct mono mono, struct wall wall)
{
	static const int64_t jump_us = 3600 * US_PER_SEC;
	int64_t skew = wall.us - mono.us, step = skew - w->skew_us;

	if (w->ageing.us == 0) {
		w->ageing_skew_us = skew;
	} else if (step > -jump_us && step < jump_us) {
		w->ageing_skew_us += step;
	} else {
		log_warn("the clock was set %lld s %s: accounting files are "
		    "not deleted the earlier for it",
		    (long long)(step < 0 ? -step : step) / US_PER_SEC,
		    step < 0 ? "back" : "ahead");
	}
	w->skew_us = skew;
	w->ageing.us = mono.us + w->ageing_skew_us;
}

/* ---- failures ---- */

static enum writer_result
failed(struct writer *w, const char *what)
{
	if (!w->failing)
		log_warn_errno("%s: accounting waits, delivery goes on; "
		    "trying again every few seconds", what);
	w->failing = true;
	return WRITER_FAILED;
}

int
writer_recover(struct writer *w)
{
	w->uncommitted = 0;
	evlog_reader_close(&w->reader);
	if (state_load(w) != 0) {
		failed(w, "the offset file cannot be read");
		return -1;
	}
	for (size_t i = 0; i < w->nouts; i++) {
		if (out_recover(&w->outs[i]) != 0) {
			failed(w, w->outs[i].live.name);
			return -1;
		}
	}
	w->reader = evlog_reader_open(w->events, "", w->saved);
	if (w->reader == NULL) {
		errno = ENOMEM;
		failed(w, "the event log");
		return -1;
	}
	return 0;
}

/* ---- configuration ---- */

void
writer_conf_set(struct writer *w, struct conf *conf, struct wall now)
{
	(void)now;
	/* after a failure the reader stands behind what was not written */
	if (w->reader != NULL && !w->failing)
		writer_commit(w);
	outs_free(w);
	w->conf = conf;
	w->queue = SV("");
	for (size_t i = 0; i < conf_naccts(conf); i++) {
		const struct conf_acct *c = conf_acct(conf, i);
		struct out *o = &w->outs[w->nouts];
		const char *why = "there are too many accounting files";
		char name[256];

		if (w->dirfd < 0)
			why = "there is no log directory";
		if (w->dirfd < 0 || w->nouts == OUT_FILES_MAX) {
			log_warn("acct-file %s: %s",
			    log_safe(c->path, name, sizeof(name)), why);
			continue;
		}
		if (out_init(o, w->dirfd, c, &why) &&
		    out_find(w, sv_from(o->stem), sv_from(o->ext)) == NULL) {
			w->nouts++;
			continue;
		}
		log_warn("acct-file %s: %s",
		    log_safe(c->path, name, sizeof(name)),
		    o->stem[0] == '\0' ? why :
		    "another one has the same name");
		out_fini(o);
	}
}

/* Settings of the record's queue; most follow one of the same queue. */
static void
queue_look_up(struct writer *w, struct sv queue)
{
	ptrdiff_t slash = sv_rfind(queue, '/');
	const struct conf_domain *d;

	if (queue.n > 0 && sv_eq(queue, w->queue))
		return;
	if (w->conf == NULL || queue.n > sizeof(w->queue_mem))
		return;
	if (queue.n > 0)
		memcpy(w->queue_mem, queue.p, queue.n);
	w->queue = sv_make(w->queue_mem, queue.n);
	d = conf_domain_find(w->conf, slash < 0 ? SV("") :
	    sv_from_at(queue, (size_t)slash + 1),
	    slash < 0 ? queue : sv_head(queue, (size_t)slash));
	w->disabled = d->disable_acct_records;
	w->dlv_type = d->type == CONF_TYPE_DISCARD ? SV("discard") :
	    SV("smtp");
}

/* ---- records ---- */

static void
today_set(struct writer *w, struct wall now)
{
	time_t t = (time_t)(now.us / US_PER_SEC);
	struct str s;
	struct tm tm;

	/* the clock may have been set back as well */
	if (now.us < w->today_ends.us &&
	    now.us >= w->today_ends.us - 90000 * US_PER_SEC)
		return;
	if (localtime_r(&t, &tm) == NULL)
		memset(&tm, 0, sizeof(tm));
	STR_ON(&s, w->today);
	str_addf(&s, "%04d-%02d-%02d", tm.tm_year + 1900, tm.tm_mon + 1,
	    tm.tm_mday);
	tm.tm_mday++;
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	tm.tm_isdst = -1;
	w->today_ends.us = (int64_t)mktime(&tm) * US_PER_SEC;
}

/* Makes a record of the event; false if it is none for the files. */
static bool
record_of(const struct evlog_record *ev, struct acct_record *r)
{
	*r = (struct acct_record){ .type = 0 };
	if (ev->type == EV_QUEUE_FAIL) {
		r->type = CONF_REC_TQ;
		r->queue_fail = &ev->any.queue_fail;
		return true;
	}
	if (ev->type != EV_ATTEMPT)
		return false;
	r->attempt = &ev->any.attempt;
	switch (r->attempt->action) {
	case ACT_DELIVERED:
		r->type = CONF_REC_D;
		return true;
	case ACT_DEFERRED:
		r->type = CONF_REC_T;
		return true;
	case ACT_FAILED:
		r->type = CONF_REC_B;
		return true;
	default:
		return false;
	}
}

/* Everything before at is synced and stored, then the next file is named,
 * and its name is stored before there is a byte in it. */
static int
file_begin(struct writer *w, struct out *o, struct evlog_pos at,
    struct wall now)
{
	for (size_t i = 0; i < w->nouts; i++) {
		if (out_sync(&w->outs[i]) != 0)
			return -1;
	}
	if (state_save(w, at) != 0 || out_begin(o, w->today, now) != 0)
		return -1;
	if (state_save(w, at) != 0)
		return -1;
	out_tidy(o, w->ageing);
	return 0;
}

static int
record_write(struct writer *w, const struct evlog_record *ev, struct wall now)
{
	struct acct_record r;

	if (!record_of(ev, &r))
		return 0;
	queue_look_up(w, r.attempt != NULL ? r.attempt->queue :
	    r.queue_fail->queue);
	if ((w->disabled & r.type) != 0)
		return 0;
	r.dlv_type = w->dlv_type;
	for (size_t i = 0; i < w->nouts; i++) {
		struct out *o = &w->outs[i];
		uint64_t before;

		if ((o->records & r.type) == 0)
			continue;
		if (out_must_begin(o, w->today, now) &&
		    file_begin(w, o, ev->at, now) != 0)
			return -1;
		before = o->live.len;
		if (out_add(o, &r) != 0)
			return -1;
		w->uncommitted += o->live.len - before;
		w->records++;
	}
	return 0;
}

/* As record_write(), but for what two lives have ended on. */
static int
record_take(struct writer *w, const struct evlog_record *ev, struct wall now)
{
	int rc;

	if (poison_is(&w->poison, POISON_EVENT, ev->at.file, ev->at.offset)) {
		log_warn("the event %s at %llu:%llu has no accounting record: "
		    "acct crashes on it", ev_name(ev->type),
		    (unsigned long long)ev->at.file,
		    (unsigned long long)ev->at.offset);
		return 0;
	}
	poison_mark(&w->poison, POISON_EVENT, ev->at.file, ev->at.offset);
	rc = record_write(w, ev, now);
	poison_clear(&w->poison);
	return rc;
}

static int
outs_write(struct writer *w)
{
	for (size_t i = 0; i < w->nouts; i++) {
		if (out_write(&w->outs[i]) != 0)
			return -1;
	}
	return 0;
}

enum writer_result
writer_run(struct writer *w, struct evlog_pos limit, unsigned max,
    struct wall now)
{
	enum writer_result result = WRITER_MORE;

	today_set(w, now);
	if (limit.file == 0)
		return WRITER_IDLE; /* nothing is known of the log yet */
	if (evlog_reader_anew(&w->reader, limit))
		log_warn("the event log was made anew: reading it from its "
		    "start");
	for (unsigned i = 0; i < max && result == WRITER_MORE; i++) {
		struct evlog_record ev;

		switch (evlog_reader_next(w->reader, limit, &ev)) {
		case EVLOG_RECORD:
			if (record_take(w, &ev, now) != 0)
				return failed(w, "an accounting file");
			break;
		case EVLOG_END:
			result = WRITER_IDLE;
			break;
		case EVLOG_MISSING:
		case EVLOG_DAMAGED:
			log_warn("a part of the event log is missing or "
			    "damaged: going on behind it");
			break;
		case EVLOG_ERROR:
			return failed(w, "the event log");
		}
	}
	if (outs_write(w) != 0)
		return failed(w, "an accounting file");
	return result;
}

bool
writer_is_dirty(const struct writer *w)
{
	return w->reader != NULL &&
	    evlog_pos_cmp(evlog_reader_position(w->reader), w->saved) != 0;
}

bool
writer_is_files_behind(const struct writer *w)
{
	return w->reader != NULL &&
	    evlog_reader_position(w->reader).file != w->saved.file;
}

int
writer_commit(struct writer *w)
{
	for (size_t i = 0; i < w->nouts; i++) {
		if (out_sync(&w->outs[i]) != 0) {
			failed(w, w->outs[i].live.name);
			return -1;
		}
	}
	if (state_save(w, evlog_reader_position(w->reader)) != 0) {
		failed(w, "the offset file");
		return -1;
	}
	w->uncommitted = 0;
	if (w->failing)
		log_info("accounting works again");
	w->failing = false;
	return 0;
}

/* Ends those that are marked. */
static int
outs_end(struct writer *w, const bool end[OUT_FILES_MAX])
{
	bool any = false;

	for (size_t i = 0; i < w->nouts; i++)
		any |= end[i];
	if (!any)
		return 0;
	if (writer_commit(w) != 0)
		return -1;
	for (size_t i = 0; i < w->nouts; i++) {
		if (end[i])
			out_end(&w->outs[i]);
	}
	return writer_commit(w);
}

int
writer_tidy(struct writer *w, struct wall now)
{
	bool end[OUT_FILES_MAX] = { false };

	today_set(w, now);
	for (size_t i = 0; i < w->nouts; i++)
		end[i] = out_must_end(&w->outs[i], w->today, now);
	if (outs_end(w, end) != 0)
		return -1;
	for (size_t i = 0; i < w->nouts; i++)
		out_tidy(&w->outs[i], w->ageing);
	return 0;
}

int
writer_rotate(struct writer *w, struct sv name, struct writer_rotation *r)
{
	bool end[OUT_FILES_MAX] = { false };

	*r = (struct writer_rotation){ .found = 0 };
	for (size_t i = 0; i < w->nouts; i++) {
		const struct out *o = &w->outs[i];

		if (!out_is_called(o, name))
			continue;
		r->found++;
		end[i] = o->live.open && o->live.len > 0;
		if (end[i])
			r->closed[r->n++] = o->live.name;
	}
	return outs_end(w, end);
}
