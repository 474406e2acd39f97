/* SPDX-License-Identifier: ISC */
/*
 * Segments that a start had to skip after damage of the log (skipped.h): they
 * are read as soon as they can be, and kept until what was found in them is
 * durable. Looked at each second; after a failure rarer, at most a minute
 * apart.
 */
#include <stdlib.h>

#include "common/sys/log.h"
#include "qmgr/qmgr.h"

#define PAUSE_MOST 60 /* looks */

struct skipped_seg {
	struct skipped k;
	bool done;            /* read, up to its end */
	bool unsaved;         /* its file does not have all IDs */
	struct evlog_pos at;  /* behind what was found last */
	unsigned pause, wait; /* looks: after the last failure; left of it */
};

/* Nobody would know any more that it was skipped. */
static void
skipped_add(struct qmgr *q, uint64_t segment)
{
	struct skipped_seg *s = &q->skipped[q->nskipped];
	struct seg_info info;
	bool whole;

	if (!segtab_info(q->segtab, segment, &info)) {
		(void)skipped_remove(q->sio, segment); /* of a lost file */
		return;
	}
	if (skipped_load(q->sio, segment, &s->k, &whole) != 0)
		fatal_errno("segments/%010llu%s cannot be read",
		    (unsigned long long)segment, SKIPPED_SUFFIX);
	if (!whole)
		log_warn("segments/%010llu%s is damaged: messages of that "
		    "segment may be sent again", (unsigned long long)segment,
		    SKIPPED_SUFFIX);
	segtab_skipped_set(q->segtab, segment, true);
	q->nskipped++;
}

void
skipped_init(struct qmgr *q)
{
	uint64_t *list;
	size_t n;

	if (skipped_list(q->sio, &list, &n) != 0)
		fatal_errno("cannot read the spool's segments");
	q->skipped = calloc(n + 1, sizeof(*q->skipped));
	if (q->skipped == NULL) /* GCOVR_EXCL_BR_LINE: memory */
		fatal("out of memory");
	for (size_t i = 0; i < n; i++)
		skipped_add(q, list[i]);
	free(list);
}

struct idset *
skipped_ids(const struct qmgr *q, uint64_t segment)
{
	for (size_t i = 0; i < q->nskipped; i++) {
		if (q->skipped[i].k.segment == segment)
			return q->skipped[i].k.ids;
	}
	return NULL;
}

static void
skipped_read(struct qmgr *q, struct skipped_seg *s)
{
	size_t before = idset_count(s->k.ids);

	s->done = recover_skipped(q, &s->k);
	if (!s->done) {
		s->pause = s->pause == 0 ? 1 : s->pause * 2;
		if (s->pause > PAUSE_MOST)
			s->pause = PAUSE_MOST;
		s->wait = s->pause;
	}
	s->unsaved = s->unsaved || idset_count(s->k.ids) != before;
	s->at = evlog_position(q->log);
}

/* True: nothing more is to be done. */
static bool
skipped_step(struct qmgr *q, struct skipped_seg *s)
{
	uint64_t segment = s->k.segment;
	bool durable = evlog_pos_cmp(s->at, journal_durable(q)) <= 0;

	if (s->done) {
		if (!durable || skipped_remove(q->sio, segment) != 0)
			return false;
		segtab_skipped_set(q->segtab, segment, false);
		log_info("segment %llu, which was skipped at a start, has been "
		    "read", (unsigned long long)segment);
		return true;
	}
	/* what ends meanwhile is not to be found again by another start */
	if (s->unsaved && durable)
		s->unsaved = skipped_save(q->sio, &s->k) != 0;
	if (s->wait > 0)
		s->wait--;
	else
		skipped_read(q, s);
	return false;
}

void
skipped_look(struct qmgr *q)
{
	for (size_t i = q->nskipped; i-- > 0;) {
		struct skipped_seg *s = &q->skipped[i];

		if (!skipped_step(q, s))
			continue;
		idset_free(&s->k.ids);
		*s = q->skipped[--q->nskipped];
	}
}
