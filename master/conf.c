/* SPDX-License-Identifier: ISC */
#include <sys/mman.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>

#include "common/sys/log.h"
#include "master/master.h"

static int
conf_write(const struct conf *c, int fd)
{
	struct buf b;
	int rc = 0;

	buf_init(&b, 64u << 20);
	if (conf_encode(c, &b) != 0) {
		errno = ENOMEM;
		rc = -1;
	}
	while (rc == 0 && buf_len(&b) > 0) {
		ssize_t n = write(fd, buf_data(&b), buf_len(&b));

		if (n >= 0)
			buf_consume(&b, (size_t)n);
		else if (errno != EINTR)
			rc = -1;
	}
	buf_fini(&b);
	return rc;
}

/* The children get the configuration as a file that nobody can change. */
int
master_conf_memfd(const struct conf *c)
{
	int fd = memfd_create("pinnace-conf", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -1;
	if (conf_write(c, fd) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE |
	    F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		return fd;
	close(fd);
	return -1;
}

/* Loads and tells errors and warnings, a line each. */
static struct conf *
conf_read(const struct master *m, struct buf *text)
{
	struct conf_report rep;
	struct conf *c;

	conf_report_init(&rep);
	c = conf_load(m->conf_path, m->rules_path, &rep);
	for (uint32_t i = 0; i < conf_report_errors(&rep); i++)
		buf_sayf(text, "%s\n", rep.errors[i]);
	for (uint32_t i = 0; i < conf_report_warnings(&rep); i++)
		buf_sayf(text, "%s\n", rep.warnings[i]);
	conf_report_fini(&rep);
	return c;
}

bool
master_conf_load(struct master *m, struct buf *text)
{
	m->conf = conf_read(m, text);
	return m->conf != NULL;
}

/* What is opened or counted at the start only. */
static void
unchanged_tell(const struct conf *old, const struct conf *new,
    struct buf *text)
{
	const struct conf_global *a = conf_global(old), *b = conf_global(new);
	const struct {
		const char *name;
		bool same;
	} rows[] = {
		{ "spool", sv_eq(a->spool, b->spool) },
		{ "run-directory", sv_eq(a->run_directory, b->run_directory) },
		{ "log-file", sv_eq(a->log_file, b->log_file) },
		{ "pickup", sv_eq(a->pickup, b->pickup) },
		{ "smtpd-processes",
		    a->smtpd_processes == b->smtpd_processes },
		{ "smtp-processes", a->smtp_processes == b->smtp_processes },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].same)
			continue;
		log_warn("a new %s takes a restart", rows[i].name);
		buf_sayf(text, "a new %s takes a restart\n", rows[i].name);
	}
}

static void
copies_close(int copies[CHILDREN_MAX])
{
	for (unsigned i = 0; i < CHILDREN_MAX; i++) {
		if (copies[i] >= 0)
			close(copies[i]);
	}
}

/* All descriptors that a reload takes, or none: a child that is told of a
 * configuration and gets no file would be lost. */
static int
conf_copies(const struct master *m, const struct conf *conf,
    int copies[CHILDREN_MAX], struct buf *text)
{
	int fd = master_conf_memfd(conf);
	bool ok = fd >= 0;

	for (unsigned i = 0; i < CHILDREN_MAX; i++)
		copies[i] = -1;
	for (unsigned i = 0; ok && i < m->nchildren; i++) {
		copies[i] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		ok = copies[i] >= 0;
	}
	if (ok)
		return fd;
	buf_sayf(text, "cannot hand on the configuration: %s\n",
	    strerror(errno));
	copies_close(copies);
	if (fd >= 0)
		close(fd);
	return -1;
}

bool
master_reload(struct master *m, struct buf *text)
{
	struct conf *conf = conf_read(m, text);
	int copies[CHILDREN_MAX], fd;

	if (conf == NULL) {
		report_refused(m);
		return false;
	}
	fd = conf_copies(m, conf, copies, text);
	if (fd < 0 || !listeners_open(m, conf, text)) {
		listeners_undo(m);
		conf_free(&conf);
		report_refused(m);
		if (fd >= 0) {
			copies_close(copies);
			close(fd);
		}
		return false;
	}
	report_reload(m);
	unchanged_tell(m->conf, conf, text);
	conf_free(&m->conf);
	m->conf = conf;
	m->generation++;
	close(m->conf_fd);
	m->conf_fd = fd;
	for (unsigned i = 0; i < m->nchildren; i++) {
		struct child *c = &m->children[i];

		if (c->chan == NULL)
			continue;
		ipc_send_conf(c->chan,
		    &(struct ipc_conf){ .generation = m->generation },
		    copies[i]);
		copies[i] = -1;
	}
	copies_close(copies);
	listeners_commit(m);
	report_check(m);
	log_info("configuration %u is in force", m->generation);
	buf_sayf(text, "configuration %u is in force\n", m->generation);
	return true;
}
