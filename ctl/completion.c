/* SPDX-License-Identifier: ISC */
/*
 * The completions of shells: each is a script that finds out which words stand
 * before the cursor and has the table of commands as its own `case`.
 */
#include <stdio.h>
#include <string.h>

#include "ctl/usage.h"

/* ---- the table ---- */

/* The first n words of the command's name. */
static struct sv
first_words(const struct ctl_command *cmd, unsigned n)
{
	struct sv rest = sv_from(cmd->words), all = rest;

	for (unsigned i = 0; i < n; i++)
		(void)sv_cut(&rest, ' ');
	if (n == 0)
		return SV("");
	return rest.p == NULL ? all : sv_head(all, all.n - rest.n - 1);
}

static struct sv
word_at(const struct ctl_command *cmd, unsigned n)
{
	struct sv rest = sv_from(cmd->words), w = SV("");

	for (unsigned i = 0; i <= n; i++)
		w = sv_cut(&rest, ' ');
	return w;
}

/* Do n words of the i-th command stand in an earlier one as well? */
static bool
is_repeated(size_t i, unsigned n)
{
	struct sv want = first_words(ctl_command_at(i), n);

	for (size_t k = 0; k < i; k++) {
		const struct ctl_command *c = ctl_command_at(k);

		if (c->help != NULL && ctl_command_nwords(c) >= n &&
		    sv_eq(first_words(c, n), want))
			return true;
	}
	return false;
}

typedef void word_fn(const struct ctl_command *cmd, struct sv before,
    struct sv word, bool last);

/* Each word that may follow these n words of the i-th command. */
static void
following(size_t i, unsigned n, word_fn *fn)
{
	struct sv before = first_words(ctl_command_at(i), n);

	for (size_t k = i; ctl_command_at(k) != NULL; k++) {
		const struct ctl_command *c = ctl_command_at(k);

		if (c->help != NULL && ctl_command_nwords(c) > n &&
		    sv_eq(first_words(c, n), before) &&
		    !is_repeated(k, n + 1))
			fn(c, before, word_at(c, n),
			    ctl_command_nwords(c) == n + 1);
	}
}

/* What may follow each beginning of a command. */
static void
all_beginnings(void (*begin)(struct sv before), word_fn *fn,
    const char *end)
{
	for (size_t i = 0; ctl_command_at(i) != NULL; i++) {
		const struct ctl_command *c = ctl_command_at(i);

		for (unsigned n = 0; c->help != NULL &&
		    n < ctl_command_nwords(c); n++) {
			/* all have the empty one */
			if (n == 0 ? i > 0 : is_repeated(i, n))
				continue;
			if (begin != NULL)
				begin(first_words(c, n));
			following(i, n, fn);
			fputs(end, stdout);
		}
	}
}

/* In single quotes, for all three shells. */
static void
put_quoted(struct sv v)
{
	putchar('\'');
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] == '\'')
			fputs("'\\''", stdout);
		else
			putchar(v.p[i]);
	}
	putchar('\'');
}

static void
put_values(struct sv values)
{
	for (size_t i = 0; i < values.n; i++)
		putchar(values.p[i] == '|' ? ' ' : values.p[i]);
}

static void
put_option(const struct usage_option *o)
{
	printf("%s%.*s%s", o->dashes ? "--" : "", SV_FMT(o->name),
	    o->valued ? "=" : "");
}

static void
each_command(void (*fn)(const struct ctl_command *cmd))
{
	const struct ctl_command *c;

	for (size_t i = 0; (c = ctl_command_at(i)) != NULL; i++)
		if (c->help != NULL)
			fn(c);
}

/* A `case` of all options that have certain values: "--sort/show queues ". */
static void
values_print(const char *open, const char *list, const char *close)
{
	const struct ctl_command *c;
	struct usage_option o;

	for (size_t i = 0; (c = ctl_command_at(i)) != NULL; i++) {
		struct sv rest = sv_from(c->usage);

		while (c->help != NULL && usage_option_next(&rest, &o)) {
			if (o.values.n == 0)
				continue;
			printf("\t%s'%s%.*s/%s '*) list=%s", open,
			    o.dashes ? "--" : "", SV_FMT(o.name), c->words,
			    list);
			put_values(o.values);
			printf("%s ;;\n", close);
		}
	}
}

/* ---- bash ---- */

static void
bash_begin(struct sv before)
{
	fputs("\t", stdout);
	put_quoted(before);
	fputs(") list='", stdout);
}

static void
bash_word(const struct ctl_command *cmd, struct sv before, struct sv word,
    bool last)
{
	(void)cmd;
	(void)before;
	(void)last;
	printf("%.*s ", SV_FMT(word));
}

static void
bash_options(const struct ctl_command *cmd)
{
	struct sv rest = sv_from(cmd->usage);
	struct usage_option o;

	printf("\t'%s '*) files=%d opts='", cmd->words, usage_has_files(cmd));
	while (usage_option_next(&rest, &o)) {
		put_option(&o);
		putchar(' ');
	}
	puts("' ;;");
}

static void
bash_print(void)
{
	struct usage_option o;

	fputs("# Made by \"pinnace completion bash\".\n"
	    "_pinnace()\n{\n"
	    "\tlocal cur=${COMP_WORDS[COMP_CWORD]} at= opt= list= opts= i\n"
	    "\tlocal prev=${COMP_WORDS[COMP_CWORD-1]} files=0 before=\n"
	    "\tCOMPREPLY=()\n"
	    "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	    "\t\tcase ${COMP_WORDS[i]} in\n"
	    "\t\t-c|-s|=) ((i++)) ;;\n"
	    "\t\t-*) ;;\n"
	    "\t\t*) at+=\"${at:+ }${COMP_WORDS[i]}\" ;;\n"
	    "\t\tesac\n\tdone\n"
	    "\t# a shell may take --sort=rc for one word or for three\n"
	    "\tif [[ $cur == *?=* ]]; then\n"
	    "\t\topt=${cur%%=*} before=${cur%%=*}= cur=${cur#*=}\n"
	    "\telif [[ $cur == = ]]; then\n\t\topt=$prev cur=\n"
	    "\telif [[ $prev == = ]]; then\n"
	    "\t\topt=${COMP_WORDS[COMP_CWORD-2]}\n\tfi\n"
	    "\tcase \"$at \" in\n", stdout);
	each_command(bash_options);
	fputs("\tesac\n\tif [[ -n $opt ]]; then\n"
	    "\t\tcase \"$opt/$at \" in\n", stdout);
	values_print("", "'", "'");
	fputs("\t\tesac\n"
	    "\t\tCOMPREPLY=($(compgen -P \"$before\" -W \"$list\" "
	    "-- \"$cur\"))\n"
	    "\t\treturn\n\tfi\n"
	    "\tcase $prev in\n"
	    "\t-c|-s) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n"
	    "\tesac\n\tcase $at in\n", stdout);
	all_beginnings(bash_begin, bash_word, "' ;;\n");
	fputs("\tesac\n\t[[ $cur == -* ]] && opts+='", stdout);
	for (size_t i = 0; usage_global(i, &o); i++) {
		put_option(&o);
		putchar(' ');
	}
	fputs("-c -s'\n"
	    "\tCOMPREPLY=($(compgen -W \"$list $opts\" -- \"$cur\"))\n"
	    "\t[[ $files == 1 && $cur != -* ]] &&\n"
	    "\t\tCOMPREPLY+=($(compgen -f -- \"$cur\"))\n"
	    "\t[[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null\n"
	    "\treturn 0\n}\ncomplete -F _pinnace pinnace\n", stdout);
}

/* ---- zsh ---- */

static void
zsh_begin(struct sv before)
{
	fputs("\t(", stdout);
	put_quoted(before);
	fputs(") list=(", stdout);
}

/* 'word:what it is' */
static void
put_described(struct sv name, const char *help)
{
	char mem[512];
	int n = snprintf(mem, sizeof(mem), "%.*s%s%s", SV_FMT(name),
	    help != NULL ? ":" : "", help != NULL ? help : "");

	put_quoted(sv_make(mem, (size_t)n < sizeof(mem) ? (size_t)n :
	    sizeof(mem) - 1));
	putchar(' ');
}

static void
zsh_word(const struct ctl_command *cmd, struct sv before, struct sv word,
    bool last)
{
	(void)before;
	put_described(word, last ? cmd->help : NULL);
}

static void
zsh_option(const struct usage_option *o)
{
	char mem[64];
	int n = snprintf(mem, sizeof(mem), "%s%.*s%s", o->dashes ? "--" : "",
	    SV_FMT(o->name), o->valued ? "=" : "");

	put_described(sv_make(mem, (size_t)n), o->help);
}

static void
zsh_options(const struct ctl_command *cmd)
{
	struct usage_option o;
	struct sv rest;

	printf("\t('%s '*) files=%d opts=(", cmd->words,
	    usage_has_files(cmd));
	for (rest = sv_from(cmd->usage); usage_option_next(&rest, &o);)
		if (!o.valued)
			zsh_option(&o);
	fputs(") valued=(", stdout);
	for (rest = sv_from(cmd->usage); usage_option_next(&rest, &o);)
		if (o.valued)
			zsh_option(&o);
	puts(") ;;");
}

static void
zsh_print(void)
{
	struct usage_option o;

	fputs("#compdef pinnace\n"
	    "# Made by \"pinnace completion zsh\".\n"
	    "_pinnace() {\n"
	    "\tlocal at= opt= i files=0\n"
	    "\tlocal -a list opts valued\n"
	    "\tfor ((i = 2; i < CURRENT; i++)); do\n"
	    "\t\tcase $words[i] in\n"
	    "\t\t(-c|-s) ((i++)) ;;\n"
	    "\t\t(-*) ;;\n"
	    "\t\t(*) at+=\"${at:+ }$words[i]\" ;;\n"
	    "\t\tesac\n\tdone\n"
	    "\tif [[ $words[CURRENT-1] == -[cs] ]]; then\n"
	    "\t\t_files\n\t\treturn\n\tfi\n"
	    "\tif [[ $PREFIX == *?=* ]]; then\n"
	    "\t\topt=${PREFIX%%=*}\n\t\tcompset -P '*='\n"
	    "\t\tcase \"$opt/$at \" in\n", stdout);
	values_print("(", "(", ")");
	fputs("\t\tesac\n\t\tcompadd -a list\n\t\treturn\n\tfi\n"
	    "\tcase \"$at \" in\n", stdout);
	each_command(zsh_options);
	fputs("\tesac\n\tcase $at in\n", stdout);
	all_beginnings(zsh_begin, zsh_word, ") ;;\n");
	fputs("\tesac\n\tif [[ $PREFIX == -* ]]; then\n\t\topts+=(", stdout);
	for (size_t i = 0; usage_global(i, &o); i++)
		if (!o.valued)
			zsh_option(&o);
	fputs(") valued+=(", stdout);
	for (size_t i = 0; usage_global(i, &o); i++)
		if (o.valued)
			zsh_option(&o);
	fputs(")\n\tfi\n"
	    "\t(( $#list )) && _describe -t commands command list\n"
	    "\t(( $#opts )) && _describe -t options option opts\n"
	    "\t(( $#valued )) && _describe -t options option valued -S ''\n"
	    "\t(( files )) && _files\n"
	    "}\n_pinnace \"$@\"\n", stdout);
}

/* ---- fish ---- */

static void
fish_word(const struct ctl_command *cmd, struct sv before, struct sv word,
    bool last)
{
	printf("complete -c pinnace -n '__pinnace_at %.*s' -a '%.*s'",
	    SV_FMT(before), SV_FMT(word));
	if (last) {
		fputs(" -d ", stdout);
		put_quoted(sv_from(cmd->help));
	}
	putchar('\n');
}

static void
fish_option(const struct usage_option *o)
{
	if (o->dashes)
		printf(" -l %.*s%s", SV_FMT(o->name), o->valued ? " -x" : "");
	else
		printf(" -a '%.*s='", SV_FMT(o->name));
	if (o->dashes && o->values.n > 0) {
		fputs(" -a '", stdout);
		put_values(o->values);
		putchar('\'');
	}
	if (o->help != NULL) {
		fputs(" -d ", stdout);
		put_quoted(sv_from(o->help));
	}
	putchar('\n');
}

static void
fish_options(const struct ctl_command *cmd)
{
	struct sv rest = sv_from(cmd->usage);
	struct usage_option o;

	while (usage_option_next(&rest, &o)) {
		printf("complete -c pinnace -n '__pinnace_in %s'",
		    cmd->words);
		fish_option(&o);
	}
	if (usage_has_files(cmd))
		printf("complete -c pinnace -n '__pinnace_in %s' -F\n",
		    cmd->words);
}

static void
fish_print(void)
{
	struct usage_option o;

	fputs("# Made by \"pinnace completion fish\".\n"
	    "function __pinnace_words\n"
	    "\tset -l skip 0\n"
	    "\tfor w in (commandline -opc)[2..-1]\n"
	    "\t\tif test $skip = 1\n"
	    "\t\t\tset skip 0\n\t\t\tcontinue\n\t\tend\n"
	    "\t\tswitch $w\n"
	    "\t\t\tcase -c -s\n\t\t\t\tset skip 1\n"
	    "\t\t\tcase '-*'\n"
	    "\t\t\tcase '*'\n\t\t\t\techo $w\n"
	    "\t\tend\n\tend\nend\n"
	    "function __pinnace_at\n"
	    "\tset -l line (__pinnace_words)\n"
	    "\ttest \"$line\" = \"$argv\"\nend\n"
	    "function __pinnace_in\n"
	    "\tset -l line (__pinnace_words)\n"
	    "\tstring match -q -- \"$argv *\" \"$line \"\nend\n"
	    "complete -c pinnace -f\n"
	    "complete -c pinnace -s c -r -F -d 'configuration'\n"
	    "complete -c pinnace -s s -r -F -d 'control socket'\n", stdout);
	for (size_t i = 0; usage_global(i, &o); i++) {
		fputs("complete -c pinnace", stdout);
		fish_option(&o);
	}
	all_beginnings(NULL, fish_word, "");
	each_command(fish_options);
}

/* ---- the command ---- */

int
local_completion(const struct ctl *ctl, const struct ctl_command *cmd)
{
	static const struct {
		const char *shell;
		void (*print)(void);
	} shells[] = { { "bash", bash_print }, { "zsh", zsh_print },
		{ "fish", fish_print } };
	size_t i = 0;

	while (i < 3 && (ctl->nwords != 2 ||
	    strcmp(ctl->words[1], shells[i].shell) != 0))
		i++;
	if (i == 3) {
		ctl_complain("which shell? %s %s", cmd->words, cmd->usage);
		return CTL_MISUSE;
	}
	shells[i].print();
	return fflush(stdout) == 0 ? CTL_OK : CTL_FAILED;
}
