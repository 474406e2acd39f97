/* SPDX-License-Identifier: ISC */
#include <stdarg.h>
#include <stdlib.h>

#include "common/base/str.h"
#include "common/conf/store.h"

#define SENTENCE_MAX 1024

void
conf_report_init(struct conf_report *rep)
{
	*rep = (struct conf_report){ .nerrors = 0 };
}

uint32_t
conf_report_errors(const struct conf_report *rep)
{
	return rep->nerrors < CONF_PROBLEMS_MAX ? rep->nerrors :
						  CONF_PROBLEMS_MAX;
}

uint32_t
conf_report_warnings(const struct conf_report *rep)
{
	return rep->nwarnings < CONF_PROBLEMS_MAX ? rep->nwarnings :
						    CONF_PROBLEMS_MAX;
}

void
conf_report_fini(struct conf_report *rep)
{
	for (uint32_t i = 0; i < conf_report_errors(rep); i++)
		free(rep->errors[i]);
	for (uint32_t i = 0; i < conf_report_warnings(rep); i++)
		free(rep->warnings[i]);
	conf_report_init(rep);
}

__attribute__((format(printf, 3, 0)))
static char *
sentence(struct sv file, uint32_t line, const char *fmt, va_list ap)
{
	char mem[SENTENCE_MAX];
	struct str s;

	STR_ON(&s, mem);
	if (file.n > 0) {
		str_add_escaped(&s, file);
		if (line > 0)
			str_addf(&s, ":%u", line);
		str_adds(&s, ": ");
	}
	str_vaddf(&s, fmt, ap);
	return sv_dup(str_sv(&s));
}

void
report_error(struct conf_report *rep, struct sv file, uint32_t line,
    const char *fmt, ...)
{
	va_list ap;

	if (rep->nerrors < CONF_PROBLEMS_MAX) {
		va_start(ap, fmt);
		rep->errors[rep->nerrors] = sentence(file, line, fmt, ap);
		va_end(ap);
	}
	rep->nerrors++;
}

void
report_warning(struct conf_report *rep, struct sv file, uint32_t line,
    const char *fmt, ...)
{
	va_list ap;

	if (rep->nwarnings < CONF_PROBLEMS_MAX) {
		va_start(ap, fmt);
		rep->warnings[rep->nwarnings] = sentence(file, line, fmt, ap);
		va_end(ap);
	}
	rep->nwarnings++;
}
