/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "common/mail/utf8.h"
#include "ctl/form.h"

#define NO_CHARACTER 0xfffdu /* U+FFFD */
#define NUMBER_MAX   64

/* ---- characters ---- */

/* Takes the first one off; v is not empty. */
static uint32_t
next_char(struct sv *v)
{
	const unsigned char *p = (const unsigned char *)v->p;
	size_t n = p[0] < 0x80 ? 1 : utf8_len(*v);
	uint32_t c = p[0];

	*v = sv_from_at(*v, n == 0 ? 1 : n);
	if (n == 0)
		return NO_CHARACTER;
	if (n > 1)
		c &= 0x7fu >> n;
	for (size_t i = 1; i < n; i++)
		c = c << 6 | (p[i] & 0x3fu);
	return c;
}

/* Production 2 of XML 1.0. */
static bool
is_xml_char(uint32_t c)
{
	return c == '\t' || c == '\n' || c == '\r' ||
	    (c >= ' ' && c != 0xfffe && c != 0xffff);
}

static void
xml_char(FILE *out, uint32_t c)
{
	if (c == '<' || c == '>')
		fputs(c == '<' ? "&lt;" : "&gt;", out);
	else if (c == '&' || c == '"')
		fputs(c == '&' ? "&amp;" : "&quot;", out);
	else if (c >= ' ' && c < 0x7f)
		fputc((int)c, out);
	else
		fprintf(out, "&#x%X;", is_xml_char(c) ? c : NO_CHARACTER);
}

static void
xml_text(FILE *out, struct sv v)
{
	while (v.n > 0)
		xml_char(out, next_char(&v));
}

/* As in JSON. */
static void
dom_char(FILE *out, uint32_t c)
{
	if (c == '"' || c == '\\')
		fprintf(out, "\\%c", (int)c);
	else if (c >= ' ' && c < 0x7f)
		fputc((int)c, out);
	else if (c == '\n')
		fputs("\\n", out);
	else if (c < 0x10000)
		fprintf(out, "\\u%04X", c);
	else
		fprintf(out, "\\u%04X\\u%04X", 0xd7c0 + (c >> 10),
		    0xdc00 + (c & 0x3ff));
}

static void
dom_text(FILE *out, struct sv v)
{
	fputc('"', out);
	while (v.n > 0)
		dom_char(out, next_char(&v));
	fputc('"', out);
}

/* ---- values ---- */

/* The text of what is neither array nor object; mem is for numbers. */
static struct sv
scalar_text(const json_t *v, char mem[NUMBER_MAX])
{
	size_t n;

	if (json_is_string(v))
		return sv_make(json_string_value(v), json_string_length(v));
	if (json_is_null(v))
		return SV("");
	n = json_dumpb(v, mem, NUMBER_MAX, JSON_ENCODE_ANY);
	return n > NUMBER_MAX ? SV("") : sv_make(mem, n);
}

/* May it stand in a path, and as the name of an element? */
static bool
is_name(const char *key)
{
	if (!ascii_is_alnum(key[0]) || ascii_is_digit(key[0]) ||
	    sv_istarts(sv_from(key), SV("xml")))
		return false;
	for (const char *p = key; *p != '\0'; p++) {
		if (!ascii_is_alnum(*p) && *p != '_' && *p != '-')
			return false;
	}
	return true;
}

/* ---- XML ---- */

static void xml_element(FILE *out, const char *key, json_t *v);

static void
xml_begin(FILE *out, const char *key)
{
	if (is_name(key)) {
		fprintf(out, "<%s", key);
		return;
	}
	fputs("<item name=\"", out);
	xml_text(out, sv_from(key));
	fputc('"', out);
}

static void
xml_end(FILE *out, const char *key)
{
	fprintf(out, "</%s>", is_name(key) ? key : "item");
}

static void
xml_members(FILE *out, json_t *object)
{
	const char *key;
	json_t *v;

	json_object_foreach(object, key, v)
		xml_element(out, key, v);
}

static void
xml_scalar(FILE *out, const char *key, struct sv text)
{
	xml_begin(out, key);
	if (text.n == 0) {
		fputs("/>", out);
		return;
	}
	fputc('>', out);
	xml_text(out, text);
	xml_end(out, key);
}

static void
xml_element(FILE *out, const char *key, json_t *v)
{
	char mem[NUMBER_MAX];
	json_t *item;
	size_t i;

	if (json_is_array(v)) {
		json_array_foreach(v, i, item)
			xml_element(out, key, item);
	} else if (json_is_object(v)) {
		xml_begin(out, key);
		fputc('>', out);
		xml_members(out, v);
		xml_end(out, key);
	} else {
		xml_scalar(out, key, scalar_text(v, mem));
	}
}

void
form_xml(FILE *out, json_t *tree, const char *status, const char *message)
{
	fputs("<rsp><data>", out);
	xml_members(out, tree);
	fputs("</data>", out);
	if (message[0] != '\0')
		xml_scalar(out, "message", sv_from(message));
	fprintf(out, "<%s/></rsp>\n", strcmp(status, "success") == 0 ?
	    "succ" : status);
}

/* ---- dom ---- */

/* The way to a value, from the last step up to the first. */
struct step {
	const struct step *up;
	const char *key;   /* NULL: an index */
	size_t index;
};

static void
step_print(FILE *out, const struct step *s)
{
	if (s->up != NULL)
		step_print(out, s->up);
	if (s->key == NULL) {
		fprintf(out, "[%zu]", s->index);
	} else if (is_name(s->key)) {
		fprintf(out, "%s%s", s->up != NULL ? "." : "", s->key);
	} else {
		fputc('[', out);
		dom_text(out, sv_from(s->key));
		fputc(']', out);
	}
}

static void
dom_line(FILE *out, const struct step *at, struct sv text)
{
	step_print(out, at);
	fputc('=', out);
	dom_text(out, text);
	fputc('\n', out);
}

static void
dom_lines(FILE *out, const struct step *at, json_t *v)
{
	struct step next = { .up = at };
	char mem[NUMBER_MAX];
	json_t *item;

	if (json_is_array(v)) {
		json_array_foreach(v, next.index, item)
			dom_lines(out, &next, item);
	} else if (json_is_object(v)) {
		json_object_foreach(v, next.key, item)
			dom_lines(out, &next, item);
	} else {
		dom_line(out, at, scalar_text(v, mem));
	}
}

void
form_dom(FILE *out, json_t *tree, const char *status, const char *message)
{
	const struct step rsp = { .key = "rsp" };

	dom_lines(out, NULL, tree);
	dom_line(out, &(struct step){ .up = &rsp, .key = "status" },
	    sv_from(status));
	if (message[0] != '\0')
		dom_line(out, &(struct step){ .up = &rsp, .key = "message" },
		    sv_from(message));
}
