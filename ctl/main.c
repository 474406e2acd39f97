/* SPDX-License-Identifier: ISC */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/conf/conf.h"
#include "ctl/ctl.h"
#include "ctl/usage.h"

#define TIMEOUT_S 60u
#define RULES_PATH_MAX 4096

void
ctl_complain(const char *fmt, ...)
{
	va_list ap;

	fputs("pinnace: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

/* The value of an option that stands in the next argument. */
static const char *
next_arg(int argc, char **argv, int *i)
{
	if (*i + 1 >= argc) {
		ctl_complain("%s needs a value", argv[*i]);
		return NULL;
	}
	return argv[++*i];
}

static bool
parse_timeout(const char *text, unsigned *out)
{
	uint64_t n;

	if (!sv_to_u64(sv_from(text), 86400, &n) || n == 0) {
		ctl_complain("--timeout needs seconds, 1 to 86400");
		return false;
	}
	*out = (unsigned)n;
	return true;
}

static bool
add_word(struct ctl *ctl, const char *word)
{
	if (ctl->nwords == CTL_WORDS_MAX) {
		ctl_complain("more than %u words", CTL_WORDS_MAX);
		return false;
	}
	ctl->words[ctl->nwords++] = word;
	return true;
}

static bool
parse_args(struct ctl *ctl, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i];

		if (strcmp(a, "-c") == 0) {
			if ((ctl->config = next_arg(argc, argv, &i)) == NULL)
				return false;
		} else if (strcmp(a, "-s") == 0) {
			if ((ctl->socket = next_arg(argc, argv, &i)) == NULL)
				return false;
		} else if (strcmp(a, "--json") == 0) {
			ctl->form = FORM_JSON;
		} else if (strcmp(a, "--xml") == 0) {
			ctl->form = FORM_XML;
		} else if (strcmp(a, "--dom") == 0) {
			ctl->form = FORM_DOM;
		} else if (strcmp(a, "--yes") == 0) {
			ctl->yes = true;
		} else if (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0) {
			ctl->help = true;
		} else if (strncmp(a, "--timeout=", 10) == 0) {
			if (!parse_timeout(a + 10, &ctl->timeout_s))
				return false;
		} else if (!add_word(ctl, a)) {
			return false;
		}
	}
	return true;
}

int
main(int argc, char **argv)
{
	struct ctl ctl = {
		.config = PINNACE_SYSCONFDIR "/pinnace/config",
		.timeout_s = TIMEOUT_S,
	};
	const struct ctl_command *cmd;
	char rules[RULES_PATH_MAX];

	ctl.rules = conf_rules_path(rules, sizeof(rules));
	if (!parse_args(&ctl, argc, argv))
		return CTL_MISUSE;
	if (ctl.nwords > 0 && strcmp(ctl.words[0], "help") == 0) {
		ctl.help = true;
		ctl.nwords--;
		memmove(ctl.words, ctl.words + 1,
		    ctl.nwords * sizeof(ctl.words[0]));
	}
	if (ctl.nwords == 0) {
		ctl_usage();
		return ctl.help ? CTL_OK : CTL_MISUSE;
	}
	if (ctl.help)
		return ctl_help(&ctl) ? CTL_OK : CTL_MISUSE;
	cmd = ctl_command_find(&ctl);
	if (cmd == NULL || !usage_check(&ctl, cmd))
		return CTL_MISUSE;
	return cmd->run(&ctl, cmd);
}
