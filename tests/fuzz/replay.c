/* SPDX-License-Identifier: ISC */
/*
 * The main() of fuzz targets without libFuzzer: runs every file of the given
 * folders, then so many inputs made from them by simple mutations (from
 * nothing, if there are none), repeatable by their seed; slow targets make
 * fewer, as many as they can in MUTATE_S seconds of processor time. An input
 * that fails is left in the file failed-input.
 *
 *	fuzz_x [-n MUTATIONS] [-s SEED] [DIRECTORY ...]
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

#define INPUT_MAX  65536
#define CORPUS_MAX 4096
#define MUTATE_S   5

struct input {
	uint8_t *p;
	size_t n;
};

static struct input corpus[CORPUS_MAX];
static size_t ncorpus;
static struct input running;

static void
on_abort(int sig)
{
	int fd = open("failed-input", O_WRONLY | O_CREAT | O_TRUNC, 0600);

	(void)sig;
	if (fd >= 0)
		(void)!write(fd, running.p, running.n);
}

static void
file_read(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *p = malloc(INPUT_MAX);

	if (f == NULL || p == NULL || ncorpus == CORPUS_MAX)
		abort();
	corpus[ncorpus++] = (struct input){ p, fread(p, 1, INPUT_MAX, f) };
	fclose(f);
}

static void
folder_read(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	char name[4096];

	if (d == NULL)
		return;
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
		file_read(name);
	}
	closedir(d);
}

/* An exact allocation, so that a sanitizer sees one byte too many. */
static void
run(const uint8_t *p, size_t n)
{
	uint8_t *copy = malloc(n == 0 ? 1 : n);

	if (copy == NULL)
		abort();
	memcpy(copy, p, n);
	running = (struct input){ copy, n };
	(void)LLVMFuzzerTestOneInput(copy, n);
	free(copy);
}

static size_t
below(size_t n)
{
	return n == 0 ? 0 : (size_t)random() % n;
}

static size_t
mutate(uint8_t *buf)
{
	size_t n = 0, times = 1 + below(8);

	if (ncorpus > 0) {
		const struct input *in = &corpus[below(ncorpus)];

		n = in->n;
		memcpy(buf, in->p, n);
	}
	while (times-- > 0) {
		size_t at = below(n + 1);

		switch (random() % 5) {
		case 0: /* change */
			if (at < n)
				buf[at] = (uint8_t)random();
			break;
		case 1: /* flip a bit */
			if (at < n)
				buf[at] ^= (uint8_t)(1u << below(8));
			break;
		case 2: /* cut the end */
			n = at;
			break;
		case 3: /* remove */
			if (at < n) {
				memmove(buf + at, buf + at + 1, n - at - 1);
				n--;
			}
			break;
		default: /* insert */
			for (size_t k = 1 + below(16); k > 0 &&
			    n < INPUT_MAX; k--) {
				memmove(buf + at + 1, buf + at, n - at);
				buf[at] = (uint8_t)random();
				n++;
			}
			break;
		}
	}
	return n;
}

int
main(int argc, char **argv)
{
	static uint8_t buf[INPUT_MAX];
	long mutations = 20000, i;
	unsigned seed = 1;
	clock_t until;
	int opt;

	while ((opt = getopt(argc, argv, "n:s:")) != -1) {
		if (opt == 'n')
			mutations = strtol(optarg, NULL, 10);
		else if (opt == 's')
			seed = (unsigned)strtoul(optarg, NULL, 10);
		else
			return 2;
	}
	srandom(seed);
	(void)sigaction(SIGABRT, &(struct sigaction){
	    .sa_handler = on_abort }, NULL);
	for (int k = optind; k < argc; k++)
		folder_read(argv[k]);
	run(buf, 0);
	for (size_t k = 0; k < ncorpus; k++)
		run(corpus[k].p, corpus[k].n);
	until = clock() + MUTATE_S * CLOCKS_PER_SEC;
	for (i = 0; i < mutations && clock() < until; i++)
		run(buf, mutate(buf));
	fprintf(stderr, "%zu files, %ld mutations\n", ncorpus, i);
	return 0;
}
