# SPDX-License-Identifier: ISC
"""What the benchmarks share: processes' CPU time and memory, the receiver,
the machine's description, arguments, the table between two marks."""

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import time

CGROUPS = ("/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup/cpu,cpuacct",
           "/sys/fs/cgroup")
TICK = os.sysconf("SC_CLK_TCK")


def process_text(pid, name):
    """/proc/PID/NAME; empty if the process is gone."""
    try:
        with open(f"/proc/{pid}/{name}") as f:
            return f.read()
    except OSError:
        return ""


def cpu_of(pids):
    """CPU seconds of these processes and of those they waited for."""
    ticks = 0
    for pid in pids:
        text = process_text(pid, "stat")
        if text:
            ticks += sum(map(int, text.rsplit(")", 1)[1].split()[11:15]))
    return ticks / TICK


def memory_of(pids, what="Pss"):
    """MiB of these processes, by a field of smaps_rollup."""
    kib = 0
    for pid in pids:
        found = re.search(rf"^{what}:\s+(\d+)",
                          process_text(pid, "smaps_rollup"), re.M)
        kib += int(found.group(1)) if found else 0
    return kib / 1024


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Cgroup:
    """A group of processes whose CPU time the kernel sums up, the dead ones
    included; path is None where the machine offers none."""

    def __init__(self):
        self.path = None
        for root in CGROUPS:
            path = f"{root}/pinnace-bench-{os.getpid()}"
            try:
                os.mkdir(path)
            except OSError:
                continue
            self.path = path
            if self.cpu() is not None:
                return
            self.remove()

    def cpu(self):
        if self.path is None:
            return None
        for name, field, unit in (("cpuacct.usage", r"(\d+)", 1e9),
                                  ("cpu.stat", r"usage_usec (\d+)", 1e6)):
            try:
                with open(f"{self.path}/{name}") as f:
                    return int(re.search(field, f.read()).group(1)) / unit
            except (OSError, AttributeError):
                continue
        return None

    def remove(self):
        for _ in range(50):
            if self.path is None:
                return
            try:
                os.rmdir(self.path)
                self.path = None
            except OSError:
                time.sleep(0.1)


class Receiver:
    def __init__(self, build, *options):
        self.process = subprocess.Popen(
            [f"{build}/tests/bench/receiver", *options], text=True,
            stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])

    def totals(self):
        self.process.send_signal(signal.SIGUSR1)
        return json.loads(self.process.stdout.readline())

    def wait_for(self, pairs, patience=30):
        """Waits until so many different messages came, or none more come."""
        last, since = -1, time.monotonic()
        while True:
            t = self.totals()
            if t["pairs"] >= pairs:
                return t
            if t["pairs"] != last:
                last, since = t["pairs"], time.monotonic()
            if time.monotonic() - since > patience:
                return t
            time.sleep(0.02)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def loadgen(build, port, *options):
    """Runs the generator; its figures."""
    done = subprocess.run(
        [f"{build}/tests/bench/loadgen", "--to", f"127.0.0.1:{port}",
         *map(str, options)], stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def disk_of(path):
    done = subprocess.run(["findmnt", "-n", "-o", "FSTYPE,SOURCE", "-T",
                           path], capture_output=True, text=True)
    return " on ".join(done.stdout.split()[:2]) or "unknown"


def machine(directory):
    """What it was measured on; spools are below the directory."""
    model = "unknown"
    with open("/proc/cpuinfo") as f:
        found = re.search(r"^model name\s*: (.*)$", f.read(), re.M)
        if found:
            model = found.group(1)
    kib = int(re.search(r"MemTotal:\s+(\d+)",
                        open("/proc/meminfo").read()).group(1))
    return (f"{model}, {os.cpu_count()} cores, {kib / 2**20:.0f} GiB, "
            f"Linux {os.uname().release}, spools on {disk_of(directory)}")


def commits_per_second(directory):
    """What the disk does: fdatasync of 4 KiB appended, for one second."""
    path = os.path.join(directory, "sync-test")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    n, end = 0, time.monotonic() + 1
    while time.monotonic() < end:
        os.write(fd, b"x" * 4096)
        os.fdatasync(fd)
        n += 1
    os.close(fd)
    os.unlink(path)
    return n


def arguments(doc):
    """A parser with what every benchmark takes; paths_made() goes with it."""
    p = argparse.ArgumentParser(description=doc.split("\n\n")[0])
    p.add_argument("--build", default=os.getcwd(),
                   help="build directory (the current one)")
    p.add_argument("--dir", help="spools go here (BUILD/tests/bench/run)")
    p.add_argument("--readme", help="write the result into this file")
    return p


def paths_made(a):
    a.build = os.path.abspath(a.build)
    a.dir = os.path.abspath(a.dir or f"{a.build}/tests/bench/run")


def put_into(path, text, mark="result"):
    """Puts text between the marks of a file."""
    with open(path) as f:
        old = f.read()
    new = re.sub(rf"(<!-- {mark} -->\n).*?(<!-- end of {mark} -->)",
                 lambda m: m.group(1) + text + m.group(2), old, flags=re.S)
    with open(path, "w") as f:
        f.write(new)
