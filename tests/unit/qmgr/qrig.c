/* SPDX-License-Identifier: ISC */
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/msgid.h"
#include "common/conf/conf.h"
#include "common/spool/checkpoint.h"
#include "tests/unit/qmgr/qrig.h"

int qmgr_main(int argc, char **argv);

/* ---- calls that fail ---- */

struct faults {
	_Atomic int err[QFAULTS], pass[QFAULTS];
	_Atomic int left[QFAULTS]; /* so many fail; 0: all */
	_Atomic bool hold[QFAULTS], held[QFAULTS];
	char folder[QFAULTS][64];
	_Atomic uint64_t size;
	char size_folder[16];
	int hurry;
};

static struct faults *faults; /* shared with the process */
static bool is_child;

#define FDS_MAX 4096

struct faulty {
	struct sio sio;
	struct sio *os;
	char folder[FDS_MAX][16];
};

struct sio *__real_sio_os_new(int dirfd);
struct sio *__wrap_sio_os_new(int dirfd);
void __wrap__exit(int status) __attribute__((noreturn));
void __real__exit(int status) __attribute__((noreturn));

/* A checkpoint's child ends by _exit(): its counters of coverage would be
 * lost. But the sanitizer, which has none, would look for leaks there, with
 * locks that threads held at the fork. */
void
__wrap__exit(int status)
{
#ifdef __SANITIZE_ADDRESS__
	__real__exit(status);
#else
	exit(status);
#endif
}

static void
fault_set(enum qfault call, const char *folder, int pass, int left, int err)
{
	faults->err[call] = 0;
	faults->pass[call] = pass;
	faults->left[call] = left;
	snprintf(
	    faults->folder[call], sizeof(faults->folder[call]), "%s", folder);
	faults->err[call] = err;
}

void
qrig_fault(enum qfault call, const char *folder, int err)
{
	fault_set(call, folder, 0, 0, err);
}

void
qrig_fault_after(int pass, enum qfault call, const char *folder, int err)
{
	fault_set(call, folder, pass, 0, err);
}

int
qrig_fault_left(enum qfault call)
{
	return faults->pass[call];
}

void
qrig_fault_once(int pass, enum qfault call, const char *folder, int err)
{
	fault_set(call, folder, pass, 1, err);
}

void
qrig_hold(enum qfault call, const char *folder)
{
	snprintf(
	    faults->folder[call], sizeof(faults->folder[call]), "%s", folder);
	faults->held[call] = false;
	faults->hold[call] = true;
}

void
qrig_release(enum qfault call)
{
	faults->hold[call] = false;
}

bool
qrig_held(enum qfault call)
{
	return faults->held[call];
}

void
qrig_size(const char *folder, uint64_t size)
{
	snprintf(
	    faults->size_folder, sizeof(faults->size_folder), "%s", folder);
	faults->size = size;
}

void
qrig_hurry(int factor)
{
	faults->hurry = factor;
}

pid_t __real_fork(void);
pid_t __wrap_fork(void);
int __real_event_add(struct event *ev, const struct timeval *tv);
int __wrap_event_add(struct event *ev, const struct timeval *tv);

int
__wrap_event_add(struct event *ev, const struct timeval *tv)
{
	struct timeval fast;
	int64_t us;

	if (!is_child || faults->hurry == 0 || tv == NULL)
		return __real_event_add(ev, tv);
	us = (int64_t)tv->tv_sec * US_PER_SEC + tv->tv_usec;
	if (us >= US_PER_SEC / 2)
		us /= faults->hurry;
	fast.tv_sec = us / US_PER_SEC;
	fast.tv_usec = us % US_PER_SEC;
	return __real_event_add(ev, &fast);
}

static bool
fails(enum qfault call, const char *path)
{
	const char *folder = faults->folder[call];
	int err;

	if (strncmp(path, folder, strlen(folder)) != 0)
		return false;
	/* of syncs only those of the thread: the loop is not to wait */
	while (faults->hold[call] &&
	    (call != QF_SYNC || gettid() != getpid())) {
		faults->held[call] = true;
		usleep(1000);
	}
	err = faults->err[call];
	if (err == 0)
		return false;
	if (faults->pass[call] > 0) {
		faults->pass[call]--;
		return false;
	}
	if (faults->left[call] > 0 && --faults->left[call] == 0)
		faults->err[call] = 0;
	errno = err;
	return true;
}

pid_t
__wrap_fork(void)
{
	/* Check forks, too */
	return is_child && fails(QF_FORK, "") ? -1 : __real_fork();
}

int __real_checkpoint_add(
    struct checkpoint *c, enum ev_type type, const union ev_any *e);
int __wrap_checkpoint_add(
    struct checkpoint *c, enum ev_type type, const union ev_any *e);

int
__wrap_checkpoint_add(
    struct checkpoint *c, enum ev_type type, const union ev_any *e)
{
	return fails(QF_SAVE, ev_name(type))
		   ? -1
		   : __real_checkpoint_add(c, type, e);
}

static const struct sio_ops *
os_ops(const struct sio *s)
{
	return ((const struct faulty *)(const void *)s)->os->ops;
}

static const char *
folder_of(const struct sio_file *f)
{
	return ((const struct faulty *)(const void *)f->sio)->folder[f->fd];
}

static int
f_open(struct sio *s, const char *path, unsigned flags, struct sio_file *f)
{
	struct faulty *y = (struct faulty *)(void *)s;

	if (fails((flags & SIO_CREATE) != 0 ? QF_OPEN : QF_REOPEN, path))
		return -1;
	if (y->os->ops->open(y->os, path, flags, f) != 0)
		return -1;
	if (f->fd >= FDS_MAX)
		abort();
	snprintf(y->folder[f->fd], sizeof(y->folder[0]), "%.15s", path);
	return 0;
}

static void
f_close(struct sio_file *f)
{
	os_ops(f->sio)->close(f);
}

static ssize_t
f_pread(struct sio_file *f, void *p, size_t n, uint64_t at)
{
	return fails(QF_READ, folder_of(f))
		   ? -1
		   : os_ops(f->sio)->pread(f, p, n, at);
}

static ssize_t
f_pwritev(struct sio_file *f, const struct iovec *iov, int n, uint64_t at)
{
	return fails(QF_WRITE, folder_of(f))
		   ? -1
		   : os_ops(f->sio)->pwritev(f, iov, n, at);
}

static int
f_ftruncate(struct sio_file *f, uint64_t size)
{
	return fails(QF_TRUNCATE, folder_of(f))
		   ? -1
		   : os_ops(f->sio)->ftruncate(f, size);
}

static int
f_fdatasync(struct sio_file *f)
{
	return fails(QF_SYNC, folder_of(f)) ? -1 : os_ops(f->sio)->fdatasync(f);
}

static int
f_allocate(struct sio_file *f, uint64_t size)
{
	/* no blocks are taken: the tests' disk may be small */
	(void)size;
	return fails(QF_ALLOCATE, folder_of(f)) ? -1 : 0;
}

static int
f_size(struct sio_file *f, uint64_t *size_r)
{
	const char *folder = faults->size_folder;

	if (fails(QF_SIZE, folder_of(f)))
		return -1;
	if (faults->size == 0 ||
	    strncmp(folder_of(f), folder, strlen(folder)) != 0)
		return os_ops(f->sio)->size(f, size_r);
	*size_r = faults->size;
	return 0;
}

static int
f_fsync_dir(struct sio *s, const char *folder)
{
	struct sio *os = ((struct faulty *)(void *)s)->os;

	return fails(QF_SYNC_DIR, folder) ? -1 : os->ops->fsync_dir(os, folder);
}

static int
f_rename(struct sio *s, const char *from, const char *to)
{
	struct sio *os = ((struct faulty *)(void *)s)->os;

	return fails(QF_RENAME, from) ? -1 : os->ops->rename(os, from, to);
}

static int
f_unlink(struct sio *s, const char *path)
{
	struct sio *os = ((struct faulty *)(void *)s)->os;

	return fails(QF_UNLINK, path) ? -1 : os->ops->unlink(os, path);
}

static int
f_mkdir(struct sio *s, const char *path)
{
	struct sio *os = ((struct faulty *)(void *)s)->os;

	return os->ops->mkdir(os, path);
}

static int
f_list(struct sio *s, const char *folder, sio_list_fn *fn, void *arg)
{
	struct sio *os = ((struct faulty *)(void *)s)->os;

	return fails(QF_LIST, folder) ? -1
				      : os->ops->list(os, folder, fn, arg);
}

static int
f_space(struct sio *s, struct sio_space *space_r)
{
	struct sio *os = ((struct faulty *)(void *)s)->os;

	if (fails(QF_SPACE, ""))
		return -1;
	*space_r =
	    (struct sio_space){UINT64_C(1) << 40, UINT64_C(2) << 40, 1000000};
	(void)os;
	return 0;
}

static void
f_destroy(struct sio *s)
{
	sio_free(&((struct faulty *)(void *)s)->os);
	free(s);
}

static const struct sio_ops faulty_ops = {
    .open = f_open,
    .close = f_close,
    .pread = f_pread,
    .pwritev = f_pwritev,
    .ftruncate = f_ftruncate,
    .fdatasync = f_fdatasync,
    .allocate = f_allocate,
    .size = f_size,
    .fsync_dir = f_fsync_dir,
    .rename = f_rename,
    .unlink = f_unlink,
    .mkdir = f_mkdir,
    .list = f_list,
    .space = f_space,
    .destroy = f_destroy,
};

struct sio *
__wrap_sio_os_new(int dirfd)
{
	struct faulty *y = calloc(1, sizeof(*y));

	if (y == NULL)
		return NULL;
	y->sio.ops = &faulty_ops;
	y->os = __real_sio_os_new(dirfd);
	return &y->sio;
}

/* ---- the process ---- */

void
qrig_init(struct qrig *r)
{
	const char *tmp = getenv("TMPDIR");

	memset(r, 0, sizeof(*r));
	snprintf(r->dir, sizeof(r->dir), "%.40s/qrig.XXXXXX",
	    tmp != NULL ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(r->dir));
	r->spool = open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(r->spool, 0);
	r->pid = -1;
	r->listen_fd = -1;
	buf_init(&r->rows, 64u << 20);
	if (faults == NULL)
		faults = mmap(NULL, sizeof(*faults), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(faults, MAP_FAILED);
	memset(faults, 0, sizeof(*faults));
	faults->hurry = 4;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int
log_open(const struct qrig *r, int flags)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/log.test", r->dir);
	return open(path, flags | O_CLOEXEC, 0600);
}

void
qrig_fini(struct qrig *r)
{
	memset(faults, 0, sizeof(*faults));
	if (r->pid > 0 && r->master != NULL)
		ck_assert_int_eq(qrig_stop(r), 0);
	else if (r->pid > 0)
		qrig_kill(r);
	if (r->listen_fd >= 0)
		close(r->listen_fd);
	close(r->spool);
	buf_fini(&r->rows);
	nftw(r->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void __attribute__((noreturn)) child(struct qrig *r, int master)
{
	char name[] = "pinnace-qmgr", i[] = "-i", zero[] = "0", S[] = "-S",
	     v[] = "-v";
	char *argv[] = {name, i, zero, S, v, NULL};
	int log = log_open(r, O_WRONLY | O_CREAT | O_APPEND);

	is_child = true;
	if (dup2(log, 1) < 0 || dup2(log, 2) < 0 || dup2(master, 20) < 0 ||
	    dup2(r->spool, 21) < 0 || dup2(20, ROLE_FD_MASTER) < 0 ||
	    dup2(21, ROLE_FD_SPOOL) < 0)
		_exit(99);
	close_range(5, ~0u, 0);
	optind = 1;
	/* by exit(): counters of coverage are written there */
	exit(qmgr_main(5, argv));
}

static void
on_ready(struct chan *c, void *arg, const void *m)
{
	(void)c;
	(void)m;
	((struct qrig *)arg)->ready = true;
}

static void
on_master_cmd(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_master_cmd *m = msg;
	struct qrig *r = arg;

	(void)c;
	ck_assert(sv_to_cstr(m->command, r->command, sizeof(r->command)));
	r->command_token = m->token;
}

static void
on_master_close(struct chan *c, void *arg, const char *why)
{
	struct qrig *r = arg;

	(void)c;
	(void)why;
	chan_free(&r->master);
	r->gone = true;
}

static const struct chan_ops master_ops = {
    .on = {[IPC_READY] = on_ready, [IPC_MASTER_CMD] = on_master_cmd},
    .on_close = on_master_close,
};

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

static void
conf_send(struct qrig *r, const char *text)
{
	int fd = memfd_create("conf", MFD_CLOEXEC);
	struct conf_report rep;
	struct conf *conf;
	struct buf b;

	conf_report_init(&rep);
	conf = conf_parse("test", sv_from(text), &rep);
	ck_assert_msg(
	    conf != NULL, "%s", rep.nerrors > 0 ? rep.errors[0] : "?");
	conf_report_fini(&rep);
	buf_init(&b, CONF_ENCODED_MAX);
	ck_assert_int_eq(conf_encode(conf, &b), 0);
	ck_assert_int_eq(
	    write(fd, buf_data(&b), buf_len(&b)), (ssize_t)buf_len(&b));
	buf_fini(&b);
	conf_free(&conf);
	r->ready = false;
	ipc_send_conf(r->master, &(struct ipc_conf){.generation = 1}, fd);
}

void
qrig_conf(struct qrig *r, const char *text)
{
	conf_send(r, text);
	QWAIT(r, r->ready);
}

static void
listener_make(struct qrig *r)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	snprintf(un.sun_path, sizeof(un.sun_path), "%s/control", r->dir);
	(void)unlink(un.sun_path);
	r->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(
	    bind(r->listen_fd, (struct sockaddr *)&un, sizeof(un)), 0);
	ck_assert_int_eq(listen(r->listen_fd, 100), 0);
}

void
qrig_spawn(struct qrig *r)
{
	static const struct timeval every = {.tv_usec = 5000};
	int sp[2];

	r->ready = r->gone = false;
	r->base = event_base_new();
	r->tick = event_new(r->base, -1, EV_PERSIST, on_tick, r);
	event_add(r->tick, &every);
	ck_assert_int_eq(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sp), 0);
	r->pid = __real_fork();
	ck_assert_int_ge(r->pid, 0);
	if (r->pid == 0)
		child(r, sp[1]);
	close(sp[1]);
	r->master =
	    chan_new(r->base, sp[0], R_MASTER, R_QMGR, 0, &master_ops, r);
}

void
qrig_start_fails(struct qrig *r, const char *words)
{
	qrig_spawn(r);
	conf_send(r, QRIG_CONF);
	ck_assert_int_eq(qrig_wait_end(r), 111);
	ck_assert_msg(qrig_logged(r, words), "%s", words);
}

void
qrig_start(struct qrig *r, const char *conf)
{
	qrig_spawn(r);
	if (r->crash != NULL)
		ipc_send_child(r->master, &(struct ipc_child){.role = R_QMGR,
					      .ended = ENDED_CRASH,
					      .reason = sv_from(r->crash)});
	qrig_conf(r, conf);
	if (r->listen_fd < 0)
		listener_make(r);
	ipc_send_listener(r->master,
	    &(struct ipc_listener){
		.id = 1, .address = SV("control"), .source = SV("")},
	    dup(r->listen_fd));
}

void
qrig_go(struct qrig *r, uint32_t workers)
{
	ipc_send_start(r->master, &(struct ipc_start){.workers = workers});
}

void
qrig_again(struct qrig *r, enum again how, const char *conf)
{
	if (how == KILLED)
		qrig_kill(r);
	else
		ck_assert_int_eq(qrig_stop(r), 0);
	qrig_start(r, conf);
	qrig_peers(r);
	qrig_go(r, 1);
}

void
qrig_turn(struct qrig *r)
{
	event_base_loop(r->base, EVLOOP_ONCE);
}

void
qrig_pass(struct qrig *r, int64_t ms)
{
	struct mono until = mono_add_ms(clock_mono(), ms);

	while (clock_mono().us < until.us)
		qrig_turn(r);
}

static char *
log_text(const struct qrig *r)
{
	int fd = log_open(r, O_RDONLY);
	struct stat st;
	char *text;
	ssize_t n;

	ck_assert_int_eq(fstat(fd, &st), 0);
	text = malloc((size_t)st.st_size + 1);
	n = read(fd, text, (size_t)st.st_size);
	text[n < 0 ? 0 : n] = '\0';
	close(fd);
	return text;
}

unsigned
qrig_logged_times(const struct qrig *r, const char *what)
{
	char *text = log_text(r);
	unsigned n = 0;

	for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
		n++;
	free(text);
	return n;
}

bool
qrig_logged(const struct qrig *r, const char *what)
{
	return qrig_logged_times(r, what) > 0;
}

void
qrig_fail(struct qrig *r, const char *what, int line)
{
	char *text = log_text(r);

	ck_abort_msg("line %d: waited in vain for %s\n%s", line, what, text);
}

static void
all_free(struct qrig *r)
{
	qpeer_leave(&r->smtpd);
	qpeer_leave(&r->smtp);
	qpeer_leave(&r->resolver);
	qpeer_leave(&r->acct);
	qpeer_leave(&r->bounce);
	chan_free(&r->ctl);
	chan_free(&r->master);
	event_free(r->tick);
	event_base_free(r->base);
	r->pid = -1;
}

void
qrig_kill(struct qrig *r)
{
	int status;

	kill(r->pid, SIGKILL);
	waitpid(r->pid, &status, 0);
	all_free(r);
}

int
qrig_wait_end(struct qrig *r)
{
	int status = 0;
	pid_t pid = 0;

	QWAIT(r, (pid = waitpid(r->pid, &status, WNOHANG)) != 0);
	all_free(r);
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int
qrig_stop(struct qrig *r)
{
	ipc_send_stop(r->master, &(struct ipc_stop){.drain_ms = 20000});
	chan_flush(r->master);
	qpeer_leave(&r->smtpd);
	qpeer_leave(&r->smtp);
	qpeer_leave(&r->bounce);
	return qrig_wait_end(r);
}

struct sio *
qrig_sio(const struct qrig *r)
{
	return __real_sio_os_new(r->spool);
}

unsigned
qrig_events(const struct qrig *r, enum ev_type type, uint64_t *id_r)
{
	struct sio *s = qrig_sio(r);
	struct evlog_reader *reader =
	    evlog_reader_open(s, EVLOG_FOLDER, (struct evlog_pos){0});
	struct evlog_record rec;
	enum evlog_next next;
	unsigned n = 0;

	while ((next = evlog_reader_next(reader, EVLOG_NO_LIMIT, &rec)) !=
	       EVLOG_END) {
		ck_assert_int_ne(next, EVLOG_ERROR);
		if (next != EVLOG_RECORD || rec.type != type)
			continue;
		n++;
		/* the first field of every event that has one */
		if (id_r != NULL)
			*id_r = rec.any.accept.id;
	}
	evlog_reader_close(&reader);
	sio_free(&s);
	return n;
}
