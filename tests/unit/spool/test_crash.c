/* SPDX-License-Identifier: ISC */
/*
 * Runs of the crash model (crash.h).
 *
 *	test_crash [-l] [-S STATES] [-s SEED [-q] [-f FAULT] [-r PATH]]
 *
 * Without arguments: lives without a fault until STATES different disks (-S: so
 * many states) were recovered, then lives in which one call fails, once for
 * each call and kind of fault. -l: the long form, LONG_STATES. -s: one life
 * (-f EIO:17: in which call 17 fails; -f ALL: each), -r 101.7/3.1: only that
 * state of it, -q: none at all. A failure ends the test and prints the command
 * that shows it again.
 */
#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/spool/crash.h"

#ifdef __SANITIZE_ADDRESS__
#define STATES       3000u /* it is for memory errors; 15 times as slow */
#else
#define STATES       50000u
#endif
#define LONG_STATES  2000000u
#define STEPS        170
#define FAULT_STEPS  60

struct run {
	uint64_t seed;
	const char *fault;  /* "EIO:17", "FULL:4000", "UNREAD:7", "TORN:7" or
	                     * NULL */
};

static struct run running;
static const char *program;
const char *crash_phase = "";

void
crash_fail(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "FAILED (%s): ", crash_phase);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nto see it again: %s -s %llu", program,
	    (unsigned long long)running.seed);
	if (running.fault != NULL)
		fprintf(stderr, " -f %s", running.fault);
	if (enum_where()[0] != '\0')
		fprintf(stderr, " -r %s", enum_where());
	fprintf(stderr, "\n");
	exit(1);
}

/* ---- lives without a fault ---- */

static struct world *
world_new(uint64_t seed)
{
	struct world *w = calloc(1, sizeof(*w));

	MUST(w != NULL, "no memory");
	w->seed = seed;
	w->rng = seed * 77;
	w->sio = sio_mem_new();
	running.seed = seed;
	return w;
}

static void
world_free(struct world *w)
{
	w->quiet = true;
	world_kill(w);
	MUST(sio_mem_resyncs(w->sio) == 0,
	    "a file was synced again after its sync had failed");
	sio_free(&w->sio);
	free(w);
}

static void
run_plain(uint64_t seed)
{
	struct world *w = world_new(seed);

	running.fault = NULL;
	MUST(sio_spool_create(w->sio) == 0, "no spool");
	enum_watch(w);
	qmgr_start(w);
	qmgr_look(w);
	for (int i = 0; i < STEPS; i++)
		world_step(w);
	enum_point(w);
	w->quiet = true;
	world_drain(w);
	world_free(w);
}

/* ---- one call fails ---- */

static const struct {
	const char *name;
	struct sio_mem_fault fault;
} faults[] = {
	{ "EIO", { SIO_OPS_ALL, 0, 1, EIO } },
	{ "EIO40", { SIO_OPS_ALL, 0, 40, EIO } },
	{ "ENOSPC", { SIO_OPS_CHANGE, 0, 1, ENOSPC } },
	{ "ENOSPC40", { SIO_OPS_CHANGE, 0, 40, ENOSPC } },
	{ "SHORT", { SIO_OP_WRITE, 0, 1, 0 } },
	{ "SYNC", { SIO_OP_SYNC | SIO_OP_SYNC_DIR, 0, 2, EIO } },
	{ "UNLINK", { SIO_OP_UNLINK | SIO_OP_RENAME, 0, 1, EIO } },
};
#define NFAULTS (sizeof(faults) / sizeof(faults[0]))

static struct world *
fault_begin(uint64_t seed)
{
	struct world *w = world_new(seed);

	MUST(sio_spool_create(w->sio) == 0, "no spool");
	enum_watch(w);
	w->quiet = true;
	qmgr_start(w);
	qmgr_look(w);
	w->quiet = false;
	w->near = 2;
	w->most = 5;
	return w;
}

/* The disk is well again: all must go now. */
static void
fault_end(struct world *w)
{
	crash_phase = "healed";
	MUST(qmgr_log_sync(w) == 0 &&
	    evlog_pos_cmp(evlog_durable(w->log), evlog_position(w->log)) == 0,
	    "the log is not durable on a disk that is well");
	w->most = 0;
	enum_point(w);
	w->quiet = true;
	world_drain(w);
	world_free(w);
}

/* False: there were fewer calls. */
static bool
run_fault(uint64_t seed, size_t kind, uint64_t n)
{
	static const struct sio_mem_fault none;
	struct sio_mem_fault f = faults[kind].fault;
	struct world *w = fault_begin(seed);
	char text[64];

	snprintf(text, sizeof(text), "%s:%llu", faults[kind].name,
	    (unsigned long long)n);
	running.fault = text;
	f.after = n;
	w->faulty = true;
	(void)sio_mem_fault(w->sio, f);
	for (unsigned i = 0; i < FAULT_STEPS; i++)
		world_step(w);
	f = sio_mem_fault(w->sio, none);
	fault_end(w);
	running.fault = NULL;
	return f.after == 0;
}

/* The disk is full for a while; outcomes are recorded all the same. */
static void
run_full(uint64_t seed, uint64_t left)
{
	struct world *w = fault_begin(seed);
	char text[64];

	snprintf(text, sizeof(text), "FULL:%llu", (unsigned long long)left);
	running.fault = text;
	w->faulty = w->full = true;
	for (unsigned i = 0; i < FAULT_STEPS * 2; i++) {
		if (i == 20)
			sio_mem_space(w->sio, left);
		if (i == 60)
			sio_mem_space(w->sio, 1 << 20);
		world_step(w);
	}
	sio_mem_space(w->sio, 1 << 30);
	fault_end(w);
	running.fault = NULL;
}

/* In the life's nth step. */
static void
run_unread(uint64_t seed, uint64_t n)
{
	struct world *w = fault_begin(seed);
	char text[64];

	snprintf(text, sizeof(text), "UNREAD:%llu", (unsigned long long)n);
	running.fault = text;
	w->faulty = true;
	for (uint64_t i = 0; i < n; i++)
		world_step(w);
	w->near = 0;
	world_unread(w);
	w->near = 2;
	for (unsigned i = 0; i < FAULT_STEPS / 4; i++)
		world_step(w);
	fault_end(w);
	running.fault = NULL;
}

/* No fault; but it is rare, too. */
static void
run_torn(uint64_t seed, uint64_t n)
{
	struct world *w = fault_begin(seed);
	char text[64];

	snprintf(text, sizeof(text), "TORN:%llu", (unsigned long long)n);
	running.fault = text;
	for (uint64_t i = 0; i < n; i++)
		world_step(w);
	w->most = 0;
	world_torn_dsn(w);
	fault_end(w);
	running.fault = NULL;
}

static void
run_faults(uint64_t seed)
{
	for (size_t kind = 0; kind < NFAULTS; kind++) {
		uint64_t before = enum_stats()->states, n = 0;

		while (run_fault(seed, kind, n))
			n++;
		printf("%s at each of %llu calls: %llu states\n",
		    faults[kind].name, (unsigned long long)n,
		    (unsigned long long)(enum_stats()->states - before));
	}
	for (uint64_t left = 0; left < 40000; left += 1999)
		run_full(seed, left);
	for (uint64_t n = 0; n < FAULT_STEPS; n += 7)
		run_unread(seed, n);
	for (uint64_t n = 0; n < FAULT_STEPS; n += 7)
		run_torn(seed, n);
}

static void
run_named(const char *fault, uint64_t seed)
{
	const char *colon = strchr(fault, ':');
	uint64_t n = colon == NULL ? 0 : strtoull(colon + 1, NULL, 10);

	if (strcmp(fault, "ALL") == 0)
		run_faults(seed);
	if (strncmp(fault, "FULL:", 5) == 0)
		run_full(seed, n);
	if (strncmp(fault, "UNREAD:", 7) == 0)
		run_unread(seed, n);
	if (strncmp(fault, "TORN:", 5) == 0)
		run_torn(seed, n);
	for (size_t kind = 0; kind < NFAULTS; kind++) {
		if (colon != NULL && strlen(faults[kind].name) ==
		    (size_t)(colon - fault) && strncmp(fault,
		    faults[kind].name, (size_t)(colon - fault)) == 0)
			(void)run_fault(seed, kind, n);
	}
}

/* ---- all ---- */

static void
stats_print(void)
{
	const struct enum_stats *st = enum_stats();

	printf("%llu crash states (%llu different disks) at %llu calls, %llu "
	    "of these with all subsets; %llu lives after a crash with %llu "
	    "states; %llu records compared\n",
	    (unsigned long long)st->states, (unsigned long long)st->distinct,
	    (unsigned long long)st->points, (unsigned long long)st->full,
	    (unsigned long long)st->lives, (unsigned long long)st->later,
	    (unsigned long long)ledger_compared());
	fflush(stdout);
}

static void
run_all(uint64_t seed, uint64_t states, uint64_t distinct,
    unsigned fault_seeds)
{
	uint64_t n;

	for (n = 0; enum_stats()->distinct < distinct ||
	    enum_stats()->states < states; n++) {
		run_plain(seed + n);
		if (n % 32 == 31)
			stats_print();
	}
	printf("%llu lives without a fault: ", (unsigned long long)n);
	stats_print();
	for (unsigned i = 0; i < fault_seeds; i++)
		run_faults(seed + i);
	stats_print();
}

int
main(int argc, char **argv)
{
	const char *fault = NULL;
	uint64_t seed = 1, states = 0, distinct = STATES;
	unsigned fault_seeds = 1;
	bool one = false;
	int c;

#ifdef M_MMAP_THRESHOLD
	/* Recovery takes and gives back large blocks thousands of times. */
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
#endif
	program = argv[0];
	while ((c = getopt(argc, argv, "lqS:s:f:r:")) != -1) {
		if (c == 'l') {
			states = LONG_STATES;
			fault_seeds = 10;
		} else if (c == 'S') {
			states = strtoull(optarg, NULL, 10);
			distinct = 0;
		} else if (c == 's') {
			seed = strtoull(optarg, NULL, 10);
			one = true;
		} else if (c == 'q') {
			enum_conf.off = true;
		} else if (c == 'f') {
			fault = optarg;
		} else if (c == 'r') {
			enum_conf.path = optarg;
		} else {
			return 2;
		}
	}
	if (fault != NULL)
		run_named(fault, seed);
	else if (one)
		run_plain(seed);
	else
		run_all(seed, states, distinct, fault_seeds);
	if (one)
		stats_print();
	return 0;
}
