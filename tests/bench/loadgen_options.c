/* SPDX-License-Identifier: ISC */
#include <err.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/loadgen.h"

struct options opt = { .sender_domain = "sender.test", .rcpt_domain = "test",
	.helo = "loadgen.test", .connections = 20, .messages = 1000,
	.size = 4096, .domains = 100, .users = 1000, .rcpts = 1,
	.processes = 1, .give_up_ms = 30000, .timeout_ms = 120000,
	.pipelining = true };

enum {
	OPT_TO = 256,
	OPT_CONNECTIONS,
	OPT_MESSAGES,
	OPT_SIZE,
	OPT_DOMAINS,
	OPT_USERS,
	OPT_RCPTS,
	OPT_PER_CONNECTION,
	OPT_PIPELINING,
	OPT_SENDER_DOMAIN,
	OPT_RCPT_DOMAIN,
	OPT_HELO,
	OPT_RATE,
	OPT_DURATION,
	OPT_LEDGER,
	OPT_RETRY,
	OPT_RUN_ID,
	OPT_FIRST_ID,
	OPT_PROCESSES,
	OPT_GIVE_UP,
	OPT_TIMEOUT,
	OPT_STAMP,
	OPT_SPOOL,
	OPT_DEFERRED
};

static const struct option long_options[] = {
	{ "to", required_argument, NULL, OPT_TO },
	{ "connections", required_argument, NULL, OPT_CONNECTIONS },
	{ "messages", required_argument, NULL, OPT_MESSAGES },
	{ "size", required_argument, NULL, OPT_SIZE },
	{ "domains", required_argument, NULL, OPT_DOMAINS },
	{ "users", required_argument, NULL, OPT_USERS },
	{ "rcpts-per-message", required_argument, NULL, OPT_RCPTS },
	{ "messages-per-connection", required_argument, NULL,
	    OPT_PER_CONNECTION },
	{ "pipelining", required_argument, NULL, OPT_PIPELINING },
	{ "sender-domain", required_argument, NULL, OPT_SENDER_DOMAIN },
	{ "rcpt-domain", required_argument, NULL, OPT_RCPT_DOMAIN },
	{ "helo", required_argument, NULL, OPT_HELO },
	{ "rate", required_argument, NULL, OPT_RATE },
	{ "duration", required_argument, NULL, OPT_DURATION },
	{ "ledger", required_argument, NULL, OPT_LEDGER },
	{ "retry", no_argument, NULL, OPT_RETRY },
	{ "run-id", required_argument, NULL, OPT_RUN_ID },
	{ "first-id", required_argument, NULL, OPT_FIRST_ID },
	{ "processes", required_argument, NULL, OPT_PROCESSES },
	{ "give-up", required_argument, NULL, OPT_GIVE_UP },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "stamp", no_argument, NULL, OPT_STAMP },
	{ "spool", required_argument, NULL, OPT_SPOOL },
	{ "deferred", required_argument, NULL, OPT_DEFERRED },
	{ NULL, 0, NULL, 0 },
};

static void
usage(void)
{
	kit_usage("usage: loadgen --to ADDRESS:PORT | --spool DIR [options]\n",
	    long_options);
}

static uint64_t
number(uint64_t min, uint64_t max)
{
	return kit_number(optarg, min, max);
}

static bool
yes_or_no(void)
{
	if (strcmp(optarg, "yes") != 0 && strcmp(optarg, "no") != 0)
		errx(100, "\"%s\" is neither yes nor no", optarg);
	return optarg[0] == 'y';
}

static double
real(void)
{
	char *end;
	double v = strtod(optarg, &end);

	if (end == optarg || *end != '\0' || !(v >= 0 && v < 1e9))
		errx(100, "\"%s\" is not a number", optarg);
	return v;
}

static void
take_option(int o)
{
	switch (o) {
	case OPT_TO: opt.to = optarg; break;
	case OPT_CONNECTIONS: opt.connections = number(1, 1000000); break;
	case OPT_MESSAGES: opt.messages = number(0, INT64_MAX); break;
	case OPT_SIZE: opt.size = number(0, POOL_BYTES); break;
	case OPT_DOMAINS: opt.domains = number(1, 10000000); break;
	case OPT_USERS: opt.users = number(1, INT64_MAX); break;
	case OPT_RCPTS: opt.rcpts = number(1, RCPTS_MAX); break;
	case OPT_PER_CONNECTION: opt.per_connection = number(0, INT64_MAX);
		break;
	case OPT_PIPELINING: opt.pipelining = yes_or_no(); break;
	case OPT_SENDER_DOMAIN: opt.sender_domain = optarg; break;
	case OPT_RCPT_DOMAIN: opt.rcpt_domain = optarg; break;
	case OPT_HELO: opt.helo = optarg; break;
	case OPT_RATE: opt.rate = real(); break;
	case OPT_DURATION: opt.duration_ms = (uint64_t)(real() * 1000); break;
	case OPT_LEDGER: opt.ledger = optarg; break;
	case OPT_RETRY: opt.retry = true; break;
	case OPT_RUN_ID: opt.run_id = optarg; break;
	case OPT_FIRST_ID: opt.first_id = number(0, INT64_MAX); break;
	case OPT_PROCESSES: opt.processes = number(1, 256); break;
	case OPT_GIVE_UP: opt.give_up_ms = (uint64_t)(real() * 1000); break;
	case OPT_TIMEOUT: opt.timeout_ms = (uint64_t)(real() * 1000); break;
	case OPT_STAMP: opt.stamp = true; break;
	case OPT_SPOOL: opt.spool = optarg; break;
	case OPT_DEFERRED: opt.deferred_ms = (uint64_t)(real() * 1000); break;
	default: usage();
	}
}

void
options_take(int argc, char **argv)
{
	static char id[64];
	int o;

	while ((o = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		take_option(o);
	if (optind < argc || (opt.to == NULL) == (opt.spool == NULL))
		usage();
	if (opt.to != NULL)
		lg.target = kit_address(opt.to, 0);
	if (opt.to != NULL && lg.target == NULL)
		errx(100, "%s: not an address and a port", opt.to);
	if (opt.run_id == NULL) {
		snprintf(id, sizeof(id), "%jx.%x", (intmax_t)time(NULL),
		    (unsigned)getpid());
		opt.run_id = id;
	}
}
