/* SPDX-License-Identifier: ISC */
/* utf8: well-formed UTF-8 characters (RFC 3629), one at a time. */
#ifndef COMMON_MAIL_UTF8_H
#define COMMON_MAIL_UTF8_H

#include "common/base/sv.h"

/* Length of the well-formed character of two bytes or more that v, which is
 * not empty, starts with; 0 if there is none. */
size_t utf8_len(struct sv v);

#endif
