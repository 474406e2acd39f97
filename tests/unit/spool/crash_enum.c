/* SPDX-License-Identifier: ISC */
/*
 * What a crash may leave in front of each call that changes something. With at
 * most ENUM_FULL effects pending all subsets of them, else RANDOMS random ones
 * and those below with names. Each is recovered, compared with the ledger, and
 * recovered again, perhaps after one more power cut; some have a life after
 * it, in which each call may be the last again.
 *
 * A state is named CALL.STATE; its number means the same whatever else is
 * looked at.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/spool/crash.h"

#define ENUM_FULL  10u
#define RANDOMS    64u
#define DEPTH_MAX  4u
#define LIFE_STEPS 6
#define LIVES      131u /* one of so many states has a life after it */
#define LIVES_KILL 64u
#define LIVES_PLACE 4u /* killed while it saves its place, which is rare */

/* Numbers of states. */
enum {
	ST_KILL,
	ST_LOSE,
	ST_KEEP,
	ST_NAMES,
	ST_DATA,
	ST_TORN,
	ST_TORN_2,
	ST_REORDER,
	ST_REORDER_2,
	ST_RANDOM,
	ST_SUBSET = 1000,  /* and the bits of what stays */
};

struct enum_conf enum_conf;
static struct enum_stats stats;

struct level {
	uint64_t call;
	unsigned state;
};

static struct level now[DEPTH_MAX];
static unsigned depth_now;

const struct enum_stats *
enum_stats(void)
{
	return &stats;
}

const char *
enum_where(void)
{
	static char text[128];
	size_t n = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < depth_now && n < sizeof(text); i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%llu.%u",
		    i == 0 ? "" : "/", (unsigned long long)now[i].call,
		    now[i].state);
	return text;
}

/* The level of the path to be replayed; false if it is not that long. */
static bool
path_level(unsigned depth, struct level *l_r)
{
	const char *p = enum_conf.path;
	char *end;

	for (unsigned i = 0; p != NULL && i < depth; i++) {
		p = strchr(p, '/');
		p = p == NULL ? NULL : p + 1;
	}
	if (p == NULL)
		return false;
	l_r->call = strtoull(p, &end, 10);
	l_r->state = *end != '.' ? 0 : (unsigned)strtoul(end + 1, NULL, 10);
	return true;
}

static uint64_t
mix(uint64_t z)
{
	z += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* ---- different disks ---- */

static struct {
	uint64_t *list;
	size_t n, room;
} disks;

static void
disks_put(uint64_t *list, size_t room, uint64_t hash)
{
	size_t at = (size_t)hash & (room - 1);

	while (list[at] != 0 && list[at] != hash)
		at = (at + 1) & (room - 1);
	disks.n += list[at] == 0;
	list[at] = hash;
}

/* Counts it if it was not seen before. */
static void
disks_add(uint64_t hash)
{
	if (disks.n >= disks.room / 2) {
		size_t room = disks.room == 0 ? 65536 : disks.room * 4;
		uint64_t *list = calloc(room, sizeof(*list));

		if (list == NULL)
			abort();
		disks.n = 0;
		for (size_t i = 0; i < disks.room; i++) {
			if (disks.list[i] != 0)
				disks_put(list, room, disks.list[i]);
		}
		free(disks.list);
		disks.list = list;
		disks.room = room;
	}
	disks_put(disks.list, disks.room, hash | 1);
	stats.distinct = disks.n;
}

/* ---- one state ---- */

static struct sio *
state_make(const struct world *w, unsigned state, uint64_t seed)
{
	static const enum sio_crash kinds[] = {
		[ST_KILL] = SIO_CRASH_KILL, [ST_LOSE] = SIO_CRASH_LOSE,
		[ST_KEEP] = SIO_CRASH_KEEP, [ST_NAMES] = SIO_CRASH_NAMES,
		[ST_DATA] = SIO_CRASH_DATA, [ST_TORN] = SIO_CRASH_TORN,
		[ST_TORN_2] = SIO_CRASH_TORN, [ST_REORDER] = SIO_CRASH_REORDER,
		[ST_REORDER_2] = SIO_CRASH_REORDER,
		[ST_RANDOM] = SIO_CRASH_RANDOM,
	};
	bool stays[ENUM_FULL];

	if (state < ST_SUBSET)
		return sio_mem_crash(w->sio,
		    kinds[state < ST_RANDOM ? state : ST_RANDOM], seed);
	for (unsigned i = 0; i < ENUM_FULL; i++)
		stays[i] = ((state - ST_SUBSET) >> i & 1) != 0;
	return sio_mem_crash_some(w->sio, stays, ENUM_FULL);
}

/* Recovery found this; so must the next one, also after a power cut. */
static void
again_verify(const struct world *w, struct sio *s, const struct view *v,
    uint64_t seed)
{
	static const enum sio_crash kinds[] = { SIO_CRASH_KILL, SIO_CRASH_LOSE,
		SIO_CRASH_RANDOM };
	struct sio *o = sio_mem_crash(s, kinds[seed % 3], seed);
	struct view *again = malloc(sizeof(*again));

	MUST(again != NULL, "no memory");
	MUST(view_recover(o, again, w, NULL) == 0, "the second recovery: %s",
	    strerror(errno));
	MUST(view_digest(again) == view_digest(v),
	    "recovered again (%u), the queue is another: %llu and %u, then "
	    "%llu and %u", (unsigned)(seed % 3),
	    (unsigned long long)live_count(v->live), v->nfound,
	    (unsigned long long)live_count(again->live), again->nfound);
	view_free(again);
	free(again);
	sio_free(&o);
}

/* The next life on what a crash left: only the start, or some steps too, or to
 * the end of all mail. */
static void
life_after(const struct world *w, struct sio *s, unsigned state,
    uint64_t pick, bool drain)
{
	struct world *next = malloc(sizeof(*next));

	MUST(next != NULL, "no memory");
	*next = *w;
	next->sio = s;
	next->rng = pick;
	next->depth = w->depth + 1;
	next->quiet = next->up = next->syncing = next->reserve = false;
	next->near = 0;
	next->most = 6;
	next->log = NULL;
	next->tab = NULL;
	next->snapshot.file = NULL;
	memset(next->writers, 0, sizeof(next->writers));
	memset(next->tailers, 0, sizeof(next->tailers));
	next->ncommits = next->taken = next->nunread = 0;
	if (state != ST_KILL)
		next->written = next->durable;
	enum_watch(next);
	qmgr_start(next);
	if (drain) {
		next->quiet = true;
		world_drain(next);
	} else if (pick % 4 != 0) {
		qmgr_look(next);
		for (unsigned i = 0; i < READERS; i++)
			tailer_run(next, (enum reader_name)i,
			    1 + (unsigned)(pick >> 8) % 24);
		for (int i = 0; i < LIFE_STEPS; i++)
			world_step(next);
		next->quiet = true;
		if (pick % 32 == 1)
			world_drain(next);
	}
	next->quiet = true;
	world_kill(next);
	free(next);
	stats.lives++;
}

static void
state_check(struct world *w, struct sio *s, unsigned state, uint64_t seed)
{
	struct view *v = malloc(sizeof(*v));
	const char *phase = crash_phase;
	struct level l;
	uint64_t lives;
	bool drain;

	MUST(v != NULL, "no memory");
	now[w->depth].state = state;
	depth_now = w->depth + 1;
	MUST(view_recover(s, v, w, NULL) == 0, "it cannot be recovered: %s",
	    strerror(errno));
	ledger_verify(w, s, v, state == ST_KILL);
	again_verify(w, s, v, seed >> 8);
	/* rare: what a write that holds both leaves when it is torn */
	drain = w->depth == 0 && ledger_has_unfinished(w, v);
	view_free(v);
	free(v);
	if (w->depth == 0)
		stats.states++;
	else
		stats.later++;
	/* more for killed processes, which leave more that is not durable */
	lives = state != ST_KILL ? LIVES :
	    strcmp(phase, "a reader's place") == 0 ? LIVES_PLACE : LIVES_KILL;
	if (w->depth + 1 < DEPTH_MAX && (drain ||
	    path_level(w->depth + 1, &l) ||
	    (w->depth == 0 && seed % lives == 0))) {
		struct sio *o = state_make(w, state, seed);

		life_after(w, o, state, seed / lives, drain);
		sio_free(&o);
	}
	depth_now = w->depth;
	crash_phase = phase;
}

/* ---- one call ---- */

struct point {
	struct world *w;
	uint64_t seen[(1u << ENUM_FULL) + RANDOMS + ST_RANDOM];
	unsigned nseen;
};

static void
state_try(struct point *p, unsigned state)
{
	struct world *w = p->w;
	uint64_t seed = mix(mix(mix(w->seed + w->depth) ^
	    now[w->depth].call) ^ state), hash;
	struct level l;
	struct sio *s;

	if (path_level(w->depth, &l) && l.state != state)
		return;
	s = state_make(w, state, seed);
	hash = sio_mem_hash(s) ^ (state == ST_KILL);
	for (unsigned i = 0; i < p->nseen; i++) {
		if (p->seen[i] == hash) {
			sio_free(&s);
			return;
		}
	}
	p->seen[p->nseen++] = hash;
	if (w->depth == 0)
		disks_add(hash);
	state_check(w, s, state, seed);
	sio_free(&s);
}

static void
states_try(struct point *p)
{
	static const unsigned some[] = { ST_KILL, ST_LOSE, ST_KEEP, ST_RANDOM,
		ST_TORN, ST_RANDOM + 1 };
	struct world *w = p->w;
	size_t n = sio_mem_effects(w->sio);

	stats.points += w->depth == 0;
	if (w->most != 0) {
		for (unsigned i = 0; i < w->most && i < 6; i++)
			state_try(p, some[i]);
		return;
	}
	stats.full += n <= ENUM_FULL;
	if (n <= ENUM_FULL) {
		state_try(p, ST_KILL);
		for (unsigned i = 0; i < 1u << n; i++)
			state_try(p, ST_SUBSET + i);
		return;
	}
	for (unsigned i = 0; i < ST_RANDOM + RANDOMS; i++)
		state_try(p, i);
}

void
enum_point(struct world *w)
{
	struct point *p;
	struct level l;

	now[w->depth].call = sio_mem_calls(w->sio);
	if (enum_conf.off)
		return;
	if (path_level(w->depth, &l) && l.call != now[w->depth].call)
		return;
	p = malloc(sizeof(*p));
	MUST(p != NULL, "no memory");
	p->w = w;
	p->nseen = 0;
	w->quiet = true;
	states_try(p);
	w->quiet = false;
	free(p);
}

static void
on_call(void *arg)
{
	struct world *w = arg;
	uint64_t call = sio_mem_calls(w->sio), failed;

	if (w->quiet)
		return;
	failed = sio_mem_failed_at(w->sio);
	if (w->near != 0 && call % 41 != 0 &&
	    (failed == 0 || call - failed > w->near))
		return;
	enum_point(w);
}

void
enum_watch(struct world *w)
{
	sio_mem_on_call(w->sio, on_call, w);
}
