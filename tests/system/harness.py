# SPDX-License-Identifier: ISC
"""What system and fault tests share: an instance of Pinnace built from a
config text, the bench's receiver and generator, name servers, ports. Nothing
here sends anything off the machine."""
import fnmatch
import glob
import json
import os
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import time

BUILD = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "build")
TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))

_ports = set()


def free_port():
    """A port nobody listens on, not handed out before."""
    while True:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        if port not in _ports:
            _ports.add(port)
            return port


def wait_for(what, fn, seconds=20, every=0.05):
    """Waits until fn() is true; fails loudly otherwise."""
    until = time.monotonic() + seconds
    while True:
        got = fn()
        if got:
            return got
        if time.monotonic() > until:
            raise AssertionError("timed out waiting for " + what)
        time.sleep(every)


def port_is_open(port, host="127.0.0.1"):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex((host, port)) == 0


def is_sanitized():
    """Whether the build has AddressSanitizer."""
    with open(BUILD + "/smtpd/pinnace-smtpd", "rb") as f:
        return b"__asan_init" in f.read()


def runs(pid, program):
    """Whether the process is this program of Pinnace; "*" is allowed."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            name = os.path.basename(f.read().split(b"\0")[0].decode())
    except OSError:
        return False
    return fnmatch.fnmatchcase(name, program)


class Instance:
    """pinnaced and its children, in a directory of their own."""

    # no test passes with one of these in the log
    forbidden = ["ERROR: AddressSanitizer", "runtime error: ",
                 "broke its sandbox"]

    def __init__(self, conf="", name="main", smtp_port=None, drain="3s"):
        self.name = name
        self.dir = tempfile.mkdtemp(prefix="pinnace-test-" + name + "-")
        self.port = smtp_port or free_port()
        self.conf_path = self.dir + "/config"
        self.log = self.dir + "/log"
        self.base = f"""
host-name {name}.pinnace.test
smtp-listener 127.0.0.1:{self.port}
run-directory {self.dir}/run
spool {self.dir}/spool
log-file {self.log}
drain-timeout {drain}
spool-min-free-space 1M
<source 127.0.0.0/8>
  always-allow-relaying yes
</source>
<acct-file {self.dir}/acct/acct.csv>
  records d,b,t
</acct-file>
"""
        self.set_conf(conf)
        self.proc = None

    def set_conf(self, conf):
        with open(self.conf_path, "w") as f:
            f.write(self.base + conf)

    def command(self):
        return [BUILD + "/master/pinnaced", "-f", "-U", "-c", self.conf_path,
                "-L", BUILD]

    def start(self, wait=True):
        os.makedirs(self.dir + "/run", exist_ok=True)
        self.proc = subprocess.Popen(
            self.command(), start_new_session=True,
            stderr=open(self.dir + "/stderr", "a"))
        if wait:
            self.wait_up()
        return self

    def wait_up(self, seconds=60, children=True):
        def up():
            if self.proc.poll() is not None:
                raise AssertionError(
                    "pinnaced ended: " + open(self.dir + "/stderr").read()
                    + self.log_text())
            r = self.ctl("show", "status", check=False)
            return (r.get("status") == "success" and r["data"]
                    and r["data"][0].get("status") == "running"
                    and port_is_open(self.port))
        wait_for("the instance", up, seconds)
        if children:
            self.wait_children()

    def wait_children(self):
        """All that the master has started are running their programs. Gives
        up after a while: a test may have something that cannot start."""
        m = re.search(r"started, (\d+) processes", self.log_text())
        end = time.monotonic() + 5
        while m and len(self.pids("pinnace-*")) < int(m.group(1)) and \
                time.monotonic() < end:
            time.sleep(0.01)

    def ctl(self, *words, check=True):
        """A command's JSON answer."""
        r = subprocess.run(
            [BUILD + "/ctl/pinnace", "-c", self.conf_path, "--json", *words],
            capture_output=True, text=True, timeout=120)
        try:
            answer = json.loads(r.stdout)
        except ValueError:
            answer = {"status": "none", "data": [],
                      "message": r.stdout + r.stderr}
        answer["exit"] = r.returncode
        if check and r.returncode != 0:
            raise AssertionError(f"{words}: {answer}")
        return answer

    def text(self, *words):
        """The same for people."""
        return subprocess.run(
            [BUILD + "/ctl/pinnace", "-c", self.conf_path, *words],
            capture_output=True, text=True, timeout=120).stdout

    def status(self):
        return self.ctl("show", "status")["data"][0]

    def queued(self):
        return self.status()["queue"]["rcp"]

    def pids(self, program):
        """Pids of our children running this program, oldest first."""
        # not pgrep: it reads all of /proc, and some tests ask often
        try:
            with open(f"/proc/{self.proc.pid}/task/{self.proc.pid}/children",
                      encoding="ascii") as f:
                children = f.read().split()
        except OSError:
            return []
        return [int(p) for p in children if runs(p, program)]

    def pid(self, program):
        """The oldest of them; one that is just being started is awaited."""
        return wait_for(program, lambda: self.pids(program), 20)[0]

    def tree(self):
        out = subprocess.run(["pgrep", "-s", str(self.proc.pid)],
                             capture_output=True, text=True).stdout
        return [int(p) for p in out.split()]

    def kill_tree(self):
        """SIGKILL for all of them, stopped first so that none sees another
        die."""
        pids = self.tree()
        for sig in (signal.SIGSTOP, signal.SIGKILL):
            for p in pids:
                try:
                    os.kill(p, sig)
                except ProcessLookupError:
                    pass
        self.proc.wait()

    def stop(self):
        if self.proc is None or self.proc.poll() is not None:
            return
        self.proc.terminate()
        try:
            self.proc.wait(60)
        except subprocess.TimeoutExpired:
            self.kill_tree()
            raise AssertionError("pinnaced did not stop")

    def log_text(self):
        try:
            return open(self.log, errors="replace").read()
        except FileNotFoundError:
            return ""

    def acct(self):
        """All accounting records, as dicts."""
        import csv
        rows = []
        for path in sorted(glob.glob(self.dir + "/acct/*.csv")):
            with open(path, newline="") as f:
                rows += list(csv.DictReader(f))
        return rows

    def smtp(self):
        return smtplib.SMTP("127.0.0.1", self.port, timeout=30)

    def destroy(self):
        if self.proc is not None and self.proc.poll() is None:
            self.kill_tree()
        log = self.log_text()
        shutil.rmtree(self.dir, ignore_errors=True)
        # these would pass as one more restart
        at = max(log.find(w) for w in self.forbidden)
        if at >= 0:
            raise AssertionError(log[max(0, at - 200):at + 4000])


class RootInstance(Instance):
    """As Instance, with the users of the processes."""

    def command(self):
        os.chmod(self.dir, 0o755)
        return [w for w in super().command() if w != "-U"]


class Receiver:
    """tests/bench/receiver on a port of its own."""

    def __init__(self, *options, script=None, port=None):
        self.dir = tempfile.mkdtemp(prefix="pinnace-recv-")
        self.port = port or free_port()
        self.ids_path = self.dir + "/ids"
        self.mbox = self.dir + "/mbox"
        self.options = list(options)
        if script is not None:
            with open(self.dir + "/script", "w") as f:
                f.write(script)
            self.options += ["--script", self.dir + "/script"]
        self.start()

    def start(self):
        os.makedirs(self.mbox, exist_ok=True)
        self.proc = subprocess.Popen(
            [BUILD + "/tests/bench/receiver", "--listen",
             f"127.0.0.1:{self.port}", "--ids", self.ids_path,
             *self.options],
            stdout=open(self.dir + "/out", "a"),
            stderr=subprocess.STDOUT)
        wait_for("the receiver", lambda: port_is_open(self.port))

    def ids(self):
        """Lines of the ledger, split."""
        try:
            with open(self.ids_path) as f:
                return [line.split() for line in f if line.endswith("\n")]
        except FileNotFoundError:
            return []

    def stop(self):
        if self.proc.poll() is None:
            self.proc.terminate()
            self.proc.wait()

    def destroy(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


class Nsd:
    """nsd on a high port with zones given as text."""

    def __init__(self, zones):
        self.dir = tempfile.mkdtemp(prefix="pinnace-nsd-")
        self.port = free_port()
        conf = f"""
server:
  ip-address: 127.0.0.1@{self.port}
  port: {self.port}
  username: ""
  chroot: ""
  zonesdir: "{self.dir}"
  database: ""
  zonelistfile: "{self.dir}/zone.list"
  xfrdfile: "{self.dir}/xfrd.state"
  pidfile: "{self.dir}/nsd.pid"
  logfile: "{self.dir}/log"
  xfrdir: "{self.dir}"
  server-count: 1
remote-control:
  control-enable: no
"""
        for name, text in zones.items():
            with open(f"{self.dir}/{name}.zone", "w") as f:
                f.write(f"$ORIGIN {name}.\n$TTL 60\n"
                        f"@ SOA ns.{name}. admin.{name}. 1 60 60 60 60\n"
                        f"@ NS ns.{name}.\nns A 127.0.0.1\n" + text + "\n")
            conf += f"zone:\n  name: {name}\n  zonefile: {name}.zone\n"
        with open(self.dir + "/nsd.conf", "w") as f:
            f.write(conf)
        self.proc = subprocess.Popen(
            ["/usr/sbin/nsd", "-d", "-c", self.dir + "/nsd.conf"],
            stdout=open(self.dir + "/out", "w"), stderr=subprocess.STDOUT)
        try:
            wait_for("nsd", lambda: port_is_open(self.port))
        except AssertionError:
            print(open(self.dir + "/out").read())
            raise

    def destroy(self):
        self.proc.terminate()
        self.proc.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class Tests:
    """Collects objects to destroy, and failures."""

    def __init__(self):
        self.things = []
        self.failed = 0
        self.passed = 0

    def add(self, thing):
        self.things.append(thing)
        return thing

    def check(self, ok, what):
        if ok:
            self.passed += 1
            print("ok   " + what, flush=True)
        else:
            self.failed += 1
            print("FAIL " + what, flush=True)

    def run(self, fn):
        try:
            fn(self)
        except Exception as e:          # a test's own error is a failure
            import traceback
            traceback.print_exc()
            self.check(False, f"{fn.__name__}: {e}")
        finally:
            if self.failed:
                for t in self.things:
                    if isinstance(t, Instance):
                        print("---- log of " + t.dir)
                        print(t.log_text()[-8000:])
                        print(open(t.dir + "/stderr").read()[-3000:])
            for t in reversed(self.things):
                t.destroy()
            self.things = []

    def end(self):
        print(f"{self.passed} checks passed, {self.failed} failed")
        sys.exit(1 if self.failed else 0)
