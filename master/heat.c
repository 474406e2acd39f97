/* SPDX-License-Identifier: ISC */
#include "master/heat.h"

/* 1, 2, 4 ... seconds for n = 1, 2, 3 ... */
static int64_t
backoff_ms(int64_t n)
{
	int64_t ms;

	if (n <= 0)
		return 0;
	ms = (int64_t)1000 << (n < 6 ? n - 1 : 5);
	return ms < HEAT_DELAY_MAX_MS ? ms : HEAT_DELAY_MAX_MS;
}

bool
heat_is_hot(const struct heat *h)
{
	return h->heat_ms > (int64_t)HEAT_FREE * HEAT_COOL_MS;
}

bool
heat_cooled(struct heat *h, struct mono started, struct mono now)
{
	if (h->crashes == 0 || mono_diff_ms(now, started) < h->heat_ms)
		return false;
	*h = (struct heat){.quick = h->quick};
	return true;
}

int64_t
heat_ended(struct heat *h, struct mono started, struct mono ended, bool crashed)
{
	int64_t lived_ms = mono_diff_ms(ended, started), over_ms, hot, quick;

	if (heat_cooled(h, started, ended))
		h->quick = 0;
	else
		h->heat_ms -= lived_ms < h->heat_ms ? lived_ms : h->heat_ms;
	if (crashed) {
		if (h->crashes++ == 0)
			h->first = ended;
		h->heat_ms += HEAT_COOL_MS;
		if (h->heat_ms > (int64_t)HEAT_MAX * HEAT_COOL_MS)
			h->heat_ms = (int64_t)HEAT_MAX * HEAT_COOL_MS;
	}
	h->quick = lived_ms > HEAT_SETTLED_MS ? 0 : h->quick + 1;
	quick = backoff_ms((int64_t)h->quick - 1);
	/* a part of a degree is one */
	over_ms = h->heat_ms - (int64_t)HEAT_FREE * HEAT_COOL_MS;
	hot = backoff_ms((over_ms + HEAT_COOL_MS - 1) / HEAT_COOL_MS);
	return hot > quick ? hot : quick;
}
