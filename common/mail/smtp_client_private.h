/* SPDX-License-Identifier: ISC */
/*
 * What the files of the client share: smtp_client.c (which replies are to come
 * and what each of them changes), smtp_client_emit.c (what is said),
 * smtp_client_end.c (outcomes and ends).
 */
#ifndef COMMON_MAIL_SMTP_CLIENT_PRIVATE_H
#define COMMON_MAIL_SMTP_CLIENT_PRIVATE_H

#include <sys/types.h>

#include "common/mail/smtp_client.h"

static inline struct sv
reply_text(const struct smtp_reply *r)
{
	return sv_make(r->text, r->text_n);
}

/* ---- smtp_client.c ---- */

/* One more reply to this verb is to come. */
void expect_push(struct smtp_client *c, enum smtp_verb verb,
    struct smtp_txn *t);
/* Replies of this transaction are to come. */
bool expects_any(const struct smtp_client *c, const struct smtp_txn *t);

/* ---- smtp_client_emit.c ---- */

/* All that can be said now. in: what the server sent and nobody looked at. */
void client_emit_all(struct smtp_client *c, const struct buf *in,
    struct buf *out);

/* Tells whoever looks on what stands in out behind so many bytes. */
void client_said(const struct smtp_client *c, enum smtp_said what,
    const struct buf *out, size_t before);

/* ---- smtp_client_end.c ---- */

/* The first decision stays. The texts live as long as the transaction. */
void rcpt_decide(struct smtp_rcpt *r, enum outcome o, uint16_t code,
    struct sv status, struct sv text);
/* The same for all recipients. */
void txn_decide(struct smtp_txn *t, enum outcome o, uint16_t code,
    struct sv status, struct sv text);
/* All that are not decided have this reply as their outcome. */
void txn_decide_reply(struct smtp_txn *t, const struct smtp_reply *r,
    enum outcome o);
bool txn_all_decided(const struct smtp_txn *t);
/* Keeps a text with the transaction; nothing at worst. */
struct sv txn_text(struct smtp_txn *t, struct sv text);
/* The server's own code if it gave one, but of the class that counts here;
 * kept with the transaction. */
struct sv txn_reply_status(struct smtp_txn *t, const struct smtp_reply *r,
    enum outcome o);
/* Nobody knows it any more; its replies belong to nothing. */
void txn_detach(struct smtp_client *c, struct smtp_txn *t);
/* Every recipient is decided: back to the owner. */
void txn_finish(struct smtp_client *c, struct smtp_txn *t);

/* The first reason to end stays. */
void end_set(struct smtp_client *c, enum session_end why, uint16_t code,
    struct sv status, struct sv text);
/* The reply that was read is the reason. */
void end_reply(struct smtp_client *c, enum session_end why);
/* The server said what it may not say here. */
void client_broken(struct smtp_client *c, const char *what);
/* 421 about this transaction, or NULL. */
void client_421(struct smtp_client *c, struct smtp_txn *t);
/* 421 between transactions, see client_is_between(). */
void client_421_between(struct smtp_client *c);
/* A 421 would be no fault of the queue or of the next message. */
bool client_is_between(const struct smtp_client *c);

#endif
