# SPDX-License-Identifier: ISC
"""Faults in running processes: the test's side of faultlib.c, and an instance
whose programs are all started with it."""
import ctypes
import mmap
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "system"))
from harness import BUILD, Instance, Tests  # noqa: E402

LIB = BUILD + "/tests/fault/faultlib.so"
MAGIC = 0x31424c544c554146
PAGE = 8192
STACK = 24
CALLS = """malloc fdatasync fsync pwritev pread openat accept socket sendmsg
recvmsg write read writev readv fallocate ftruncate renameat unlinkat dupfd
fork socketpair mmap connect send recv""".split()
RULE0 = 8 * (6 + STACK)
RULE = 8 * 8
FOLDERS = {"pinnace-smtpd": "smtpd", "pinnace-qmgr": "qmgr",
           "pinnace-smtp": "delivery", "pinnace-resolver": "delivery",
           "pinnace-bounce": "bounce", "pinnace-acct": "acct"}
PROGRAMS = list(FOLDERS)


class Page:
    """The control page of one process; it outlives the process."""

    def __init__(self, path):
        self.path = path
        with open(path, "wb") as f:
            f.write(bytes(PAGE))
        self.fd = os.open(path, os.O_RDWR)
        self.mem = mmap.mmap(self.fd, PAGE)
        self.words = (ctypes.c_int64 * (PAGE // 8)).from_buffer(self.mem)
        self.clear()
        self.words[0] = MAGIC

    def _at(self, call):
        return (RULE0 + CALLS.index(call) * RULE) // 8

    def clear(self):
        for c in CALLS:
            self.disarm(c)

    def disarm(self, call):
        at = self._at(call)
        self.words[at + 1] = 0
        self.words[at + 5] = -1

    def arm(self, call, skip=0, hits=1, error=0, limit=0, delay_us=0, fd=-1):
        """hits calls behind the next skip ones fail, are cut or delayed."""
        at = self._at(call)
        self.words[at + 1] = 0
        self.words[at + 0] = skip
        self.words[at + 2] = error
        self.words[at + 3] = limit
        self.words[at + 4] = delay_us
        self.words[at + 5] = fd
        self.words[at + 6] = 0
        self.words[at + 7] = 0
        self.words[at + 1] = hits

    def calls(self, call):
        return self.words[self._at(call) + 6]

    def done(self, call):
        return self.words[self._at(call) + 7]

    def wall_set(self, seconds):
        self.words[2] = int(seconds * 1000000)

    def resynced(self):
        """Syncs of a file that had failed to sync before."""
        return self.words[5]

    def in_library(self):
        """The last allocation that failed was libseccomp's, which does not
        look at the result of each of its own."""
        return self.words[4] != 0

    def stack(self):
        n = min(self.words[3], STACK)
        return [self.words[6 + i] for i in range(n)]


def symbols(pid_maps, addresses):
    """Function names for addresses of a process whose maps are given."""
    out = []
    for a in addresses:
        for lo, hi, off, path in pid_maps:
            if lo <= a < hi:
                out.append((path, a - lo + off))
                break
        else:
            out.append(("?", a))
    text = []
    for path, at in out:
        if not path.startswith(BUILD) or path == LIB:
            continue
        r = subprocess.run(["addr2line", "-fe", path, hex(at - 1)],
                           capture_output=True, text=True).stdout.split("\n")
        text.append(r[0])
    return " < ".join(text)


def maps_of(pid):
    rows = []
    try:
        with open(f"/proc/{pid}/maps") as f:
            for line in f:
                w = line.split()
                if len(w) >= 6 and "x" in w[1]:
                    lo, hi = (int(x, 16) for x in w[0].split("-"))
                    rows.append((lo, hi, int(w[2], 16), w[5]))
    except OSError:
        pass
    return rows


class Faulty(Instance):
    """An instance whose processes run with faultlib."""

    def __init__(self, conf="", name="main", master=True, **kw):
        super().__init__(conf, name=name, **kw)
        self.build = self.dir + "/build"
        self.master_preload = master
        self.pages = {}
        for program, folder in FOLDERS.items():
            os.makedirs(f"{self.build}/{folder}", exist_ok=True)
            path = f"{self.build}/{folder}/{program}"
            with open(path, "w") as f:
                f.write(f"#!/bin/sh\n"
                        f"export LD_PRELOAD={LIB}\n"
                        f"export FAULTLIB={self.dir}/{program}.$2\n"
                        f"exec {BUILD}/{folder}/{program} \"$@\"\n")
            os.chmod(path, 0o755)
            for i in range(4):
                self.pages[program, i] = Page(f"{self.dir}/{program}.{i}")
        self.pages["pinnaced", 0] = Page(self.dir + "/pinnaced.0")

    def page(self, program, index=0):
        return self.pages[program, index]

    def start(self, wait=True):
        os.makedirs(self.dir + "/run", exist_ok=True)
        env = dict(os.environ)
        if self.master_preload:
            env["LD_PRELOAD"] = LIB
            env["FAULTLIB"] = self.dir + "/pinnaced.0"
        self.proc = subprocess.Popen(
            [BUILD + "/master/pinnaced", "-f", "-U", "-c", self.conf_path,
             "-L", self.build], start_new_session=True, env=env,
            stderr=open(self.dir + "/stderr", "a"))
        if wait:
            self.wait_up()
        return self

    def clear(self):
        for p in self.pages.values():
            p.clear()


def clean(led, spool_too):
    """The ledger's I7. With spool_too all of it. Without, a test of seconds
    does not wait for the minute in which a new qmgr leaves open what the
    writers of a killed one hold: such segments may be there still, but no more
    of them than test_restarts allows, and everything else is as clean."""
    dirty = led.cleanliness(seconds=100 if spool_too else 12)
    if spool_too:
        return dirty
    segments = led.measure()["segments"]
    writers = len(led.inst.pids("pinnace-smtpd")) + 1
    dirty = [d for d in dirty if "segments" not in d]
    if segments > 3 * writers + 4:
        dirty.append(f"{segments} segments for {writers} writers")
    return dirty


def usable():
    """A sentence why faultlib is not, or None."""
    if not os.path.exists(LIB):
        return "no " + LIB
    r = subprocess.run(["nm", "-D", BUILD + "/qmgr/pinnace-qmgr"],
                       capture_output=True, text=True).stdout
    if "__asan" in r or "__tsan" in r:
        return "a sanitizer has an allocator of its own"
    return None


def run(*fns):
    """A test's main(), if faultlib is usable."""
    why = usable()
    if why is not None:
        print("skipped: " + why)
        sys.exit(77)
    t = Tests()
    for fn in fns:
        t.run(fn)
    t.end()
