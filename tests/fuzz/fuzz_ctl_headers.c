/* SPDX-License-Identifier: ISC */
/*
 * The header scan. The first byte says which fields go, and whether they have
 * other names. Oracles: what is left
 * is, byte for byte, what a plain walk over the lines leaves; a second scan
 * finds nothing more to remove; values have no control byte.
 */
#include <stdlib.h>
#include <string.h>

#include "common/mail/ctl_headers.h"
#include "tests/fuzz/fuzz.h"

static bool
is_dropped(struct sv line, const struct ctl_rules *rules,
    bool seen[CTL_FIELDS])
{
	bool other = rules->vmta.n > 0;
	const char *const names[CTL_FIELDS] = {
		other ? "Source" : "x-virtual-mta",
		other ? "x-campaign" : "x-job",
		"x-envid", "date", "message-id" };
	ptrdiff_t colon = sv_find(line, ':');
	struct sv name;

	if (colon < 0)
		return false;
	name = sv_trim(sv_head(line, (size_t)colon));
	for (unsigned i = 0; i < CTL_FIELDS; i++) {
		if (!sv_ieq(name, sv_from(names[i])))
			continue;
		seen[i] = true;
		if ((rules->drop & (1u << i)) != 0)
			return true;
		break;
	}
	return rules->remove.n > 0 && (sv_ieq(name, SV("x-job")) ||
	    sv_ieq(name, SV("subject")) || sv_ieq(name, SV("date")));
}

/*
 * Line by line: a line that begins with a blank goes where the one before it
 * went; from the empty line on, or from the last field, which may not be
 * whole yet, everything stays.
 */
static size_t
walk(struct sv in, const struct ctl_rules *rules, unsigned char *out,
    bool seen[CTL_FIELDS])
{
	size_t n = 0, start = 0;

	while (start < in.n && in.p[start] != '\r') {
		size_t end = start;

		do {
			const char *lf = memchr(in.p + end, '\n', in.n - end);

			end = lf == NULL ? in.n : (size_t)(lf - in.p) + 1;
		} while (end < in.n && (in.p[end] == ' ' ||
		    in.p[end] == '\t'));
		if (end == in.n)
			break;
		if (!is_dropped(sv_make(in.p + start, end - start), rules,
		    seen)) {
			memcpy(out + n, in.p + start, end - start);
			n += end - start;
		}
		start = end;
	}
	memcpy(out + n, in.p + start, in.n - start);
	return n + in.n - start;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool seen[CTL_FIELDS] = { false };
	struct ctl_headers h, again;
	unsigned char *mem, *want;
	struct ctl_rules rules = { .drop = 0 };
	size_t n, want_n;

	if (size < 2)
		return 0;
	rules.drop = data[0] & 0x1f;
	if ((data[0] & 0x20) != 0) {
		rules.vmta = SV("source");
		rules.job = SV("X-Campaign");
	}
	if ((data[0] & 0x40) != 0)
		rules.remove = SV("x-job, Subject,date");
	mem = malloc(size - 1);
	want = malloc(size - 1);
	must(mem != NULL && want != NULL);
	memcpy(mem, data + 1, size - 1);
	n = ctl_headers_take(mem, size - 1, &rules, &h);
	want_n = walk(sv_make(data + 1, size - 1), &rules, want, seen);
	must(n == want_n && memcmp(mem, want, n) == 0);
	must(memcmp(seen, h.seen, sizeof(seen)) == 0);
	for (int f = 0; f <= CTL_ENVID; f++) {
		struct sv v = ctl_value(&h, (enum ctl_field)f);

		must(h.seen[f] || v.n == 0);
		must(v.n <= CTL_VALUE_MAX);
		for (size_t i = 0; i < v.n; i++) {
			unsigned char c = (unsigned char)v.p[i];

			must(c >= ' ' && c != 0x7f);
		}
	}
	must(n == 0 || ctl_headers_take(mem, n, &rules, &again) == n);
	for (unsigned f = 0; n > 0 && f < CTL_FIELDS; f++)
		must((rules.drop & (1u << f)) == 0 || !again.seen[f]);
	free(mem);
	free(want);
	return 0;
}
