/* SPDX-License-Identifier: ISC */
/*
 * A configuration as bytes: magic, sum of the schema, files, blocks, settings,
 * and which file holds the receiver rules.
 * What is read back goes through the same checks as a file.
 */
#include "common/base/rw.h"
#include "common/conf/store.h"

#define MAGIC    0x464e4350u /* "PCNF" */
#define NAME_MAX_BYTES 8192u
#define TEXT_MAX CONF_LINE_MAX

static void
put_place(struct wr *w, struct place at)
{
	wr_u32(w, at.file);
	wr_u32(w, at.line);
}

static void
put_settings(struct wr *w, const struct conf *c)
{
	wr_u32(w, c->nsettings);
	for (uint32_t i = 0; i < c->nblocks; i++) {
		const struct block *b = c->blocks[i];
		const struct conf_row *rows = scope_infos[b->scope].rows;

		for (const struct setting *s = b->first; s != NULL;
		    s = s->next) {
			wr_u32(w, i);
			wr_u16(w, (uint16_t)(s->row - rows));
			wr_u8(w, s->clear);
			wr_sv(w, s->value, TEXT_MAX);
			put_place(w, s->at);
		}
	}
}

int
conf_encode(const struct conf *c, struct buf *b)
{
	struct wr w;

	wr_init_buf(&w, b);
	wr_u32(&w, MAGIC);
	wr_u32(&w, schema_sum());
	wr_u32(&w, c->nfiles);
	for (uint32_t i = 0; i < c->nfiles; i++)
		wr_sv(&w, c->files[i], NAME_MAX_BYTES);
	wr_u32(&w, c->nblocks);
	for (uint32_t i = 1; i < c->nblocks; i++) {
		wr_u8(&w, (uint8_t)c->blocks[i]->scope);
		wr_sv(&w, c->blocks[i]->arg, TEXT_MAX);
		wr_u32(&w, c->blocks[i]->parent);
		put_place(&w, c->blocks[i]->at);
	}
	put_settings(&w, c);
	wr_u32(&w, c->rules_file);
	return w.failed ? -1 : 0;
}

static bool
get_place(struct rd *r, const struct conf *c, struct place *at)
{
	at->file = rd_u32(r);
	at->line = rd_u32(r);
	return !r->failed &&
	    (at->file == STORE_NONE || at->file < c->nfiles);
}

static bool
get_files(struct rd *r, struct conf *c)
{
	uint32_t n = rd_u32(r), id;

	if (n > CONF_FILES_MAX)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		struct sv name = rd_sv(r, NAME_MAX_BYTES);

		if (r->failed || !store_file(c, name, &id))
			return false;
	}
	return true;
}

static bool
get_block(struct rd *r, struct conf *c)
{
	uint8_t scope = rd_u8(r);
	struct sv arg = rd_sv(r, TEXT_MAX);
	uint32_t parent = rd_u32(r), id;
	struct place at;

	if (!get_place(r, c, &at) || scope >= SCOPES || parent >= c->nblocks)
		return false;
	return block_may_nest((enum conf_scope)scope,
	    c->blocks[parent]->scope) &&
	    store_block(c, (enum conf_scope)scope, arg, parent, at, &id);
}

static bool
get_blocks(struct rd *r, struct conf *c)
{
	uint32_t n = rd_u32(r);

	if (n == 0 || n > STORE_BLOCKS_MAX)
		return false;
	for (uint32_t i = 1; i < n; i++)
		if (!get_block(r, c))
			return false;
	return true;
}

static bool
get_setting(struct rd *r, struct conf *c)
{
	uint32_t block = rd_u32(r);
	uint16_t nrow = rd_u16(r);
	uint8_t clear = rd_u8(r);
	struct sv value = rd_sv(r, TEXT_MAX);
	const struct scope_info *scope;
	const struct conf_row *row;
	union conf_any scratch;
	struct place at;

	if (!get_place(r, c, &at) || block >= c->nblocks || clear > 1)
		return false;
	scope = &scope_infos[c->blocks[block]->scope];
	if (nrow >= scope->nrows)
		return false;
	row = &scope->rows[nrow];
	if (row->kind != ROW_USED && row->kind != ROW_NOT_YET)
		return false;
	if (clear && type_is_ordered((enum conf_type)row->type))
		return false;
	if (!clear && row_parse(row, value, &scratch) != NULL)
		return false;
	return store_setting(c, block, row, value, clear, at);
}

/* Whether a block is a rule is known at the end only. */
static bool
blocks_ok(const struct conf *c)
{
	for (uint32_t i = 1; i < c->nblocks; i++) {
		const struct block *b = c->blocks[i];
		enum conf_scope in = c->blocks[b->parent]->scope;

		if ((store_is_rule(c, b) ?
		    block_rule_check(b->scope, in, b->arg) :
		    block_arg_check(b->scope, in, b->arg)) != NULL)
			return false;
	}
	return true;
}

static bool
get_all(struct rd *r, struct conf *c)
{
	uint32_t n;

	if (rd_u32(r) != MAGIC || rd_u32(r) != schema_sum() ||
	    !get_files(r, c) || !get_blocks(r, c))
		return false;
	n = rd_u32(r);
	if (n > STORE_SETTINGS_MAX)
		return false;
	for (uint32_t i = 0; i < n; i++)
		if (!get_setting(r, c))
			return false;
	c->rules_file = rd_u32(r);
	return rd_done(r) && blocks_ok(c);
}

struct conf *
conf_decode(struct sv bytes)
{
	struct conf *c = store_new();
	struct conf_report rep;
	struct rd r;

	if (c == NULL)
		return NULL;
	conf_report_init(&rep);
	rd_init(&r, bytes.p, bytes.n);
	if (!get_all(&r, c) || !build(c, &rep))
		conf_free(&c);
	conf_report_fini(&rep);
	return c;
}
