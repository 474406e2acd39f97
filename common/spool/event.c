/* SPDX-License-Identifier: ISC */
#include "common/spool/event.h"

#define EV_DEFINE(NAME, tag)                                                  \
	FIELDS_CODEC(ev_##tag, EV_##NAME##_FIELDS)                            \
	static bool any_##tag##_decode(struct rd *r, union ev_any *m)         \
	{                                                                     \
		return ev_##tag##_decode(r, &m->tag);                         \
	}                                                                     \
	static void any_##tag##_encode(struct wr *w, const union ev_any *m)   \
	{                                                                     \
		ev_##tag##_encode(w, &m->tag);                                \
	}
EV_RECORDS(EV_DEFINE)

struct ev_info {
	const char *name;
	bool (*decode)(struct rd *r, union ev_any *m);
	void (*encode)(struct wr *w, const union ev_any *m);
};

#define EV_ROW(NAME, tag) \
	[EV_##NAME] = { #NAME, any_##tag##_decode, any_##tag##_encode },
static const struct ev_info table[EV_TYPES] = { EV_RECORDS(EV_ROW) };

const char *
ev_name(unsigned type)
{
	return type > EV_NONE && type < EV_TYPES ? table[type].name : NULL;
}

bool
ev_decode(unsigned type, struct sv bytes, union ev_any *m_r)
{
	struct rd r;

	if (ev_name(type) == NULL)
		return false;
	/* the decoder sets every field, also of what it refuses */
	rd_init(&r, bytes.p, bytes.n);
	return table[type].decode(&r, m_r);
}

void
ev_encode(struct wr *w, enum ev_type type, const union ev_any *m)
{
	table[type].encode(w, m);
}
