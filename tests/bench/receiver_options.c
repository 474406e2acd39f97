/* SPDX-License-Identifier: ISC */
#include <bsd/string.h>
#include <err.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/bench/receiver.h"

struct options opt = { .hostname = "receiver.test",
	.size = 64 * 1024 * 1024, .seed = 1, .pipelining = true,
	.eightbit = true, .offer_size = true, .enhanced = true, .dsn = true };

enum {
	OPT_IDS = 256,
	OPT_EXPECT,
	OPT_QUIT_AFTER,
	OPT_SCRIPT,
	OPT_RULE,
	OPT_SEED,
	OPT_MBOX,
	OPT_SIZE,
	OPT_HOSTNAME,
	OPT_OFFER,
	OPT_NO_PIPELINING,
	OPT_NO_8BITMIME,
	OPT_NO_SIZE,
	OPT_NO_ENHANCED,
	OPT_NO_DSN
};

static const struct option long_options[] = {
	{ "listen", required_argument, NULL, 'l' },
	{ "ids", required_argument, NULL, OPT_IDS },
	{ "expect", required_argument, NULL, OPT_EXPECT },
	{ "quit-after", required_argument, NULL, OPT_QUIT_AFTER },
	{ "script", required_argument, NULL, OPT_SCRIPT },
	{ "rule", required_argument, NULL, OPT_RULE },
	{ "seed", required_argument, NULL, OPT_SEED },
	{ "mbox-dir", required_argument, NULL, OPT_MBOX },
	{ "size", required_argument, NULL, OPT_SIZE },
	{ "hostname", required_argument, NULL, OPT_HOSTNAME },
	{ "offer", required_argument, NULL, OPT_OFFER },
	{ "no-pipelining", no_argument, NULL, OPT_NO_PIPELINING },
	{ "no-8bitmime", no_argument, NULL, OPT_NO_8BITMIME },
	{ "no-size", no_argument, NULL, OPT_NO_SIZE },
	{ "no-enhancedstatuscodes", no_argument, NULL, OPT_NO_ENHANCED },
	{ "no-dsn", no_argument, NULL, OPT_NO_DSN },
	{ NULL, 0, NULL, 0 },
};

static void
usage(void)
{
	kit_usage("usage: receiver [options] [ADDRESS:PORT ...]\n"
	    "port 0 takes a free one; the default is 127.0.0.1:0\n",
	    long_options);
}

static void
add_rule(const char *rule)
{
	char why[256];

	if (opt.script != NULL)
		errx(100, "--rule and --script exclude each other");
	if (rv.script == NULL)
		rv.script = script_new(opt.seed);
	if (script_add(rv.script, sv_from(rule), why, sizeof(why)) != 0)
		errx(100, "--rule: %s", why);
}

static void
add_offer(const char *line)
{
	strlcat(opt.offers, "\n", sizeof(opt.offers));
	if (strlcat(opt.offers, line, sizeof(opt.offers)) >=
	    sizeof(opt.offers))
		errx(100, "too many --offer");
}

static uint64_t
number(void)
{
	return kit_number(optarg, 0, INT64_MAX);
}

static void
take_option(int o)
{
	switch (o) {
	case 'l': listen_on(optarg); break;
	case OPT_IDS: opt.ids = optarg; break;
	case OPT_EXPECT: opt.expect = number(); break;
	case OPT_QUIT_AFTER: opt.quit_after = number(); break;
	case OPT_SCRIPT: opt.script = optarg; break;
	case OPT_RULE: add_rule(optarg); break;
	case OPT_SEED: opt.seed = number(); break;
	case OPT_MBOX: opt.mbox_dir = optarg; break;
	case OPT_SIZE: opt.size = number(); break;
	case OPT_HOSTNAME: opt.hostname = optarg; break;
	case OPT_OFFER: add_offer(optarg); break;
	case OPT_NO_PIPELINING: opt.pipelining = false; break;
	case OPT_NO_8BITMIME: opt.eightbit = false; break;
	case OPT_NO_SIZE: opt.offer_size = false; break;
	case OPT_NO_ENHANCED: opt.enhanced = false; break;
	case OPT_NO_DSN: opt.dsn = false; break;
	default: usage();
	}
}

void
options_take(int argc, char **argv)
{
	int o;

	while ((o = getopt_long(argc, argv, "l:", long_options, NULL)) != -1)
		take_option(o);
}
