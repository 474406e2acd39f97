/* SPDX-License-Identifier: ISC */
/* The commands: one row each. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "ctl/usage.h"

static int run_plain(const struct ctl *ctl, const struct ctl_command *cmd);
static int run_config(const struct ctl *ctl, const struct ctl_command *cmd);
static int run_list(const struct ctl *ctl, const struct ctl_command *cmd);
static int run_delete(const struct ctl *ctl, const struct ctl_command *cmd);

static const struct ctl_command commands[] = {
	{ "show status", "", "counters, connections, the spool", run_plain,
	    view_status, "status" },
	{ "show queues", "[domain[/vmta]] [domain=D] [vmta=V] [--maxitems=N] "
	    "[--sort=rcpt|name|size|oldest|rate|conn] [--paused=yes|no] "
	    "[--connected=yes|no] [--mode=normal|backoff] [--errors] "
	    "[--match=TEXT]",
	    "queues, how many recipients they hold, and why they wait",
	    run_plain, view_queues, "queue" },
	{ "show top", "[domain[/vmta]] [domain=D] [vmta=V] "
	    "[--interval=SECONDS] [--sort=rcpt|rate|oldest|conn|name] "
	    "[--maxitems=N] [--paused=yes|no] [--connected=yes|no] "
	    "[--mode=normal|backoff] [--errors] [--match=TEXT]",
	    "counters and queues on the whole screen, again each 2 seconds; "
	    "without a terminal once", run_top, view_top, "row" },
	{ "show topqueues", "[domain[/vmta]] [domain=D] [vmta=V] "
	    "[--maxitems=N] [--sort=rcpt|name|size|oldest|rate|conn] "
	    "[--paused=yes|no] [--connected=yes|no] [--mode=normal|backoff] "
	    "[--errors] [--match=TEXT]",
	    "the same, the largest first", run_plain, view_queues, "queue" },
	{ "show domains", "[domain] [vmta=V] [--maxitems=N] "
	    "[--sort=name|rcpt]",
	    "the queues of each domain, added up", run_plain, view_sums,
	    "domain" },
	{ "show topdomains", "[domain] [vmta=V] [--maxitems=N] "
	    "[--sort=name|rcpt]",
	    "the same, the largest first", run_plain, view_sums, "domain" },
	{ "show vmtas", "[vmta=V] [domain] [--maxitems=N] "
	    "[--sort=name|rcpt]",
	    "the queues of each VMTA, added up", run_plain, view_sums, "vmta" },
	{ "show jobs", "[jobId=J] [domain[/vmta]] [--maxitems=N] "
	    "[--sort=rcpt|name|size|oldest]", "the recipients of each job; "
	    "every message in these queues is looked at", run_plain, view_jobs,
	    "job" },
	{ "show limits", "[domain[/vmta]] [vmta=V] [--waiting] "
	    "[--maxitems=N]", "limits that are in force, what is used of "
	    "them, by which line; --waiting: those that queues wait for",
	    run_plain, view_limits, "limit" },
	{ "show ips", "[vmta=V] [--maxitems=N]", "source addresses: what "
	    "became of their connections and recipients in the last hour, "
	    "and whether they are disabled", run_plain, view_ips, "source" },
	{ "show config", "[--defaults] [--diff]",
	    "the settings that are in force, with file and line; --diff: "
	    "how the file on disk differs", run_config, view_config,
	    "setting" },
	{ "show settings", "domain[/vmta] [rollup=NAME]",
	    "every setting that the file on disk gives a queue, and from "
	    "where", local_settings, view_config, "setting" },
	{ "show trash", "", "what was deleted and can be brought back",
	    run_plain, view_trash, "deletion" },
	{ "undo", "[ID]", "bring back what a delete has removed; without ID "
	    "the last one", run_plain, NULL, NULL },
	{ "show message", "ID", "the recipients of a message", run_plain,
	    view_message, "rcpt" },
	{ "show audit", "[--maxitems=N]", "the last commands that changed "
	    "something: who, when, what", run_plain, view_audit, "command" },
	{ "show orders", "", "standing orders", run_plain, view_orders,
	    "order" },
	{ "show version", "", "version of the running daemon", run_plain,
	    view_version, "version" },
	{ "show warmup", "[NAME]", "plan, actual and forecast of each day of "
	    "a <warmup>", run_plain, view_warmup, "day" },
	{ "list", "[--queue=domain[/vmta]] [--orig=A] [--rcpt=A] [--jobId=J] "
	    "[--envId=E] [--maxitems=N] [--priority]", "queued recipients",
	    run_list, view_list, "rcpt" },
	{ "diagnose", "[domain[/vmta]] [--older-than=T]",
	    "what is wrong, if anything: the pattern, the evidence, and the one "
	    "command; a queue whose oldest is younger than T (5m) is not looked "
	    "at", run_plain, view_diagnose, "finding" },
	{ "simulate", "-c NEWCONFIG [domain[/vmta]] [--hours=N] [--seed=N]",
	    "what would become of the queues in N hours (24) under the "
	    "configuration that runs and under a new one; nothing is changed",
	    local_simulate, view_simulate, "forecast" },
	{ "explain queue", "domain[/vmta] [--maxitems=N]",
	    "what holds a queue now and of late, by which line of the "
	    "configuration, and when it will have drained", run_plain,
	    view_explain, "explanation" },
	{ "explain message", "ID", "what each recipient of a message waits "
	    "for", run_plain, view_explain, "row" },
	{ "pause queue", "domain[/vmta]",
	    "stop the delivery of queues; * is any", run_plain, NULL, NULL },
	{ "resume queue", "domain[/vmta]", "go on with it", run_plain, NULL,
	    NULL },
	{ "pause job", "ID", "hold what there is of a job and what comes",
	    run_plain, NULL, NULL },
	{ "resume job", "ID", "go on with it", run_plain, NULL, NULL },
	{ "set queue", "--mode={normal|backoff} domain[/vmta]",
	    "the mode of queues: backoff has limits and waits of its own",
	    run_plain, NULL, NULL },
	{ "set priority", "{--queue=domain[/vmta] | --jobId=J | --id=ID} "
	    "[--orig=A] [--rcpt=A] [--envId=E] [--older-than=T] N",
	    "recipients of a higher priority go first in their queue: 0 to "
	    "100, 50 is usual", run_plain, NULL, NULL },
	{ "schedule", "[--retry-recipients] domain[/vmta]",
	    "try now what waits for a retry", run_plain, NULL, NULL },
	{ "delete", "{--queue=domain[/vmta] | --jobId=J | --id=ID} "
	    "[--orig=A] [--rcpt=A] [--envId=E] [--older-than=T] [--yes] "
	    "[--no-trash]",
	    "delete recipients; says how many first and asks", run_delete,
	    view_deletion, "deletion" },
	{ "bounce", "{--queue=domain[/vmta] | --jobId=J | --id=ID} "
	    "[--orig=A] [--rcpt=A] [--envId=E] [--older-than=T] "
	    "[--reason=TEXT] "
	    "[--standing [--for=T]] [--yes]",
	    "the same, and their senders get a bounce", run_delete,
	    view_deletion, "deletion" },
	{ "hold", "{--queue=domain[/vmta] | --jobId=J | --id=ID} "
	    "[--orig=A] [--rcpt=A] [--envId=E] [--older-than=T] "
	    "[--reason=TEXT] "
	    "[--standing [--for=T]]",
	    "keep recipients until they are released; --standing: what comes "
	    "as well", run_plain, NULL, NULL },
	{ "release", "{--queue=domain[/vmta] | --jobId=J | --id=ID | --order=N} "
	    "[--orig=A] [--rcpt=A] [--envId=E] [--older-than=T]",
	    "let them go: recipients on hold are tried again", run_plain, NULL,
	    NULL },
	{ "disable source", "IP [domain[/vmta]] [vmta=V] [--reenable-after=T] "
	    "[--reason=TEXT]",
	    "a source address is not used for new connections of these "
	    "queues", run_plain, NULL, NULL },
	{ "enable source", "IP [domain[/vmta]] [vmta=V]",
	    "it is used again", run_plain, NULL, NULL },
	{ "show disabled sources", "[domain[/vmta]] [--maxitems=N]",
	    "source addresses that are not used, for whom and until when",
	    run_plain, view_sources, "source" },
	{ "rebind", "{--queue=domain[/vmta] | --jobId=J | --id=ID} --vmta=NEW "
	    "[--orig=A] [--rcpt=A] [--envId=E] [--older-than=T] [--yes]",
	    "move recipients to another VMTA; says how many first and asks",
	    run_delete, NULL, "deletion" },
	{ "reset counters", "", "those of show status begin at 0", run_plain,
	    NULL, NULL },
	{ "resolve", "[--connect] [--source=[HOST,]IP] domain[/vmta]",
	    "where mail for a domain goes, as delivery finds it; --connect: "
	    "and what the first host there says", run_resolve, view_resolve,
	    "route" },
	{ "trace", "[--log-data] [--source-ip=IP] domain[/vmta]",
	    "the dialogue of the next session of a queue, as it comes, until "
	    "it is over; --log-data: messages as well", run_trace, NULL,
	    "line" },
	{ "rotate acct", "[FILE]", "close the accounting files, or that one; "
	    "the next record begins a new one", run_plain, view_closed,
	    "file" },
	{ "rotate log", "", "close the log file, which becomes FILE.1, and "
	    "begin a new one", run_plain, NULL, NULL },
	{ "reload", "", "read the configuration again; the old one stays if "
	    "there is a mistake", run_plain, NULL, NULL },
	{ "stop", "", "finish what is under way and stop", run_plain, NULL,
	    NULL },
	{ "test config", "[FILE]", "check a configuration; needs no daemon",
	    local_test_config, view_problems, "problem" },
	{ "spool check", "[DIR]", "check a spool that no daemon uses",
	    local_spool, view_problems, "row" },
	{ "spool rebuild", "[DIR] [--yes]",
	    "make the queue again from the messages alone; may send some "
	    "twice", local_spool, view_problems, "row" },
	{ "manual", "", "the manual page of the configuration, as mdoc",
	    local_manual, NULL, NULL },
	{ "completion", "bash|zsh|fish", NULL, local_completion, NULL, NULL },
};

#define NCOMMANDS (sizeof(commands) / sizeof(commands[0]))

unsigned
ctl_command_nwords(const struct ctl_command *cmd)
{
	unsigned n = 1;

	for (const char *p = cmd->words; *p != '\0'; p++)
		n += *p == ' ';
	return n;
}

void
ctl_usage(void)
{
	puts("usage: pinnace [-c CONFIG] [-s SOCKET] [--json|--xml|--dom] "
	    "[--timeout=S] COMMAND\n");
	for (size_t i = 0; i < NCOMMANDS; i++)
		if (commands[i].help != NULL)
			printf("  %s %s\n      %s\n", commands[i].words,
			    commands[i].usage, commands[i].help);
}

const struct ctl_command *
ctl_command_at(size_t i)
{
	return i < NCOMMANDS ? &commands[i] : NULL;
}

/* 0: no match; 1: all words start so; 2: all words are so. */
static int
match(const struct ctl_command *cmd, const struct ctl *ctl)
{
	struct sv rest = sv_from(cmd->words);
	unsigned i = 0;
	int best = 2;

	while (rest.p != NULL) {
		struct sv want = sv_cut(&rest, ' '), have;

		if (i == ctl->nwords)
			return 0;
		have = sv_from(ctl->words[i++]);
		if (have.n == 0 || !sv_starts(want, have))
			return 0;
		if (have.n < want.n)
			best = 1;
	}
	return best;
}

/* Puts the full words into ctl. */
static void
spell_out(struct ctl *ctl, const struct ctl_command *cmd)
{
	struct sv rest = sv_from(cmd->words);

	for (unsigned i = 0; i < CTL_NAME_WORDS && rest.p != NULL; i++)
		if (sv_to_cstr(sv_cut(&rest, ' '), ctl->full[i],
		    sizeof(ctl->full[i])))
			ctl->words[i] = ctl->full[i];
}

const struct ctl_command *
ctl_command_find(struct ctl *ctl)
{
	const struct ctl_command *found = NULL;
	bool several = false;
	unsigned most = 0;

	/* "res q" is rather "resume queue" than "resolve" of a domain "q" */
	for (size_t i = 0; i < NCOMMANDS; i++) {
		unsigned n = ctl_command_nwords(&commands[i]);
		int m = match(&commands[i], ctl);

		if (m == 0 || (m == 1 && n < most))
			continue;
		several = m == 1 && n == most;
		found = &commands[i];
		most = n;
		if (m == 2)
			break;
	}
	if (found == NULL || several) {
		ctl_complain("\"%s%s%s\" %s; see pinnace help", ctl->words[0],
		    ctl->nwords > 1 ? " " : "",
		    ctl->nwords > 1 ? ctl->words[1] : "",
		    several ? "can mean several commands" :
			      "is no command");
		return NULL;
	}
	spell_out(ctl, found);
	return found;
}

/* Nothing of these words is against it: for help. */
static bool
may_be(const struct ctl_command *cmd, const struct ctl *ctl)
{
	struct sv rest = sv_from(cmd->words);

	for (unsigned i = 0; i < ctl->nwords && rest.p != NULL; i++)
		if (!sv_starts(sv_cut(&rest, ' '), sv_from(ctl->words[i])))
			return false;
	return cmd->help != NULL;
}

bool
ctl_help(const struct ctl *ctl)
{
	const struct ctl_command *only = NULL;
	unsigned n = 0;

	for (size_t i = 0; i < NCOMMANDS; i++) {
		const struct ctl_command *cmd = &commands[i];

		if (!may_be(cmd, ctl))
			continue;
		only = cmd;
		n++;
		if (match(cmd, ctl) != 2)
			continue;
		n = 1;
		break;
	}
	if (n == 1)
		usage_print(only, stdout);
	else if (n == 0)
		ctl_complain("there is no such command; see pinnace help");
	for (size_t i = 0; n > 1 && i < NCOMMANDS; i++)
		if (may_be(&commands[i], ctl))
			printf("%s %s\n", commands[i].words,
			    commands[i].usage);
	return n > 0;
}

bool
ctl_confirm(const char *question)
{
	char line[16];

	if (!isatty(STDIN_FILENO))
		return false;
	fprintf(stderr, "%s [y/N] ", question);
	fflush(stderr);
	return fgets(line, sizeof(line), stdin) != NULL &&
	    (line[0] == 'y' || line[0] == 'Y');
}

static int
run_plain(const struct ctl *ctl, const struct ctl_command *cmd)
{
	struct ctl_reply r;
	int rc;

	if (ctl_ask(ctl, ctl->words, ctl->nwords, &r) == -1)
		return CTL_UNREACHABLE;
	rc = ctl_print(ctl, cmd, &r);
	ctl_reply_fini(&r);
	return rc;
}

static bool
has_word(const struct ctl *ctl, const char *word)
{
	for (unsigned i = 0; i < ctl->nwords; i++)
		if (strcmp(ctl->words[i], word) == 0)
			return true;
	return false;
}

static int
run_list(const struct ctl *ctl, const struct ctl_command *cmd)
{
	struct ctl_command with = *cmd;

	if (has_word(ctl, "--priority"))
		with.view = view_list_priority;
	return run_plain(ctl, &with);
}

static int
run_config(const struct ctl *ctl, const struct ctl_command *cmd)
{
	static const char *const plain[] = { "show", "config" };
	struct ctl_command diff = *cmd;
	struct ctl_reply r, d;
	int rc;

	if (!has_word(ctl, "--diff"))
		return run_plain(ctl, cmd);
	if (ctl_ask(ctl, plain, 2, &r) == -1)
		return CTL_UNREACHABLE;
	diff.view = view_diff;
	rc = CTL_FAILED;
	if (r.status != CTL_OK) {
		rc = ctl_print(ctl, cmd, &r);
	} else if (local_diff(ctl, &r, &d) == 0) {
		rc = ctl_print(ctl, &diff, &d);
		ctl_reply_fini(&d);
	}
	ctl_reply_fini(&r);
	return rc;
}

/* Recipients that the dry run found. */
static json_int_t
victims(const struct ctl_reply *r)
{
	return json_integer_value(json_object_get(json_array_get(r->rows, 0),
	    "rcp"));
}

static int
delete_really(const struct ctl *ctl, const struct ctl_command *cmd)
{
	const char *words[CTL_WORDS_MAX + 1];
	struct ctl_reply r;
	int rc;

	memcpy(words, ctl->words, ctl->nwords * sizeof(words[0]));
	words[ctl->nwords] = "--yes";
	if (ctl_ask(ctl, words, ctl->nwords + 1, &r) == -1)
		return CTL_UNREACHABLE;
	rc = ctl_print(ctl, cmd, &r);
	ctl_reply_fini(&r);
	return rc;
}

/* First without --yes, which only counts; then, if that is wanted, really. */
static int
run_delete(const struct ctl *ctl, const struct ctl_command *cmd)
{
	char question[128];
	struct ctl_reply r;
	json_int_t n;
	int rc;

	if (ctl->nwords == CTL_WORDS_MAX) {
		ctl_complain("too many words");
		return CTL_MISUSE;
	}
	if (ctl->yes)
		return delete_really(ctl, cmd);
	if (ctl_ask(ctl, ctl->words, ctl->nwords, &r) == -1)
		return CTL_UNREACHABLE;
	n = victims(&r);
	if (r.status != CTL_OK || n == 0 || ctl->form != FORM_TEXT ||
	    !isatty(STDIN_FILENO)) {
		rc = ctl_print(ctl, cmd, &r);
		ctl_reply_fini(&r);
		return rc;
	}
	cmd->view(&r);
	ctl_reply_fini(&r);
	(void)snprintf(question, sizeof(question),
	    "%s %lld recipients?", cmd->words, (long long)n);
	if (!ctl_confirm(question)) {
		puts("nothing was done");
		return CTL_FAILED;
	}
	return delete_really(ctl, cmd);
}
