# SPDX-License-Identifier: ISC
"""What /proc says of a process. Of one that is gone it says nothing: all but
age() raise an OSError then."""
import os

TICK = os.sysconf("SC_CLK_TCK")


def _stat(pid):
    """The fields behind the program's name, from the state on."""
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rsplit(")", 1)[1].split()


def age(pid):
    """Seconds since its start; 0 if there is none."""
    try:
        ticks = int(_stat(pid)[19])
        with open("/proc/uptime") as f:
            up = float(f.read().split()[0])
    except (OSError, IndexError):
        return 0
    return up - ticks / TICK


def cpu_seconds(pid):
    """Processor time used so far."""
    w = _stat(pid)
    return (int(w[11]) + int(w[12])) / TICK


def kib(pid, key="VmRSS"):
    """Memory, by a field of status."""
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith(key + ":"):
                return int(line.split()[1])
    raise ProcessLookupError(f"{pid} has no {key}")


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def sockets(pid):
    n = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            n += os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:")
        except FileNotFoundError:
            pass
    return n
