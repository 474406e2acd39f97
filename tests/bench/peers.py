# SPDX-License-Identifier: ISC
"""Other MTAs, run from Debian's packages without installing them: a package
is downloaded, unpacked and laid over /usr and /etc in a mount namespace of
its own, so that packages that conflict run side by side on one machine and
nothing outside the given directories changes. That needs root.

The benchmark and the system tests share this; what an MTA does with its mail
is their business, and given as configuration text."""
import fcntl
import glob
import os
import re
import shutil
import subprocess


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)


def make_dir(path, user="root", group=None, mode=0o755):
    os.makedirs(path, exist_ok=True)
    shutil.chown(path, user, group)
    os.chmod(path, mode)


class MTA:
    packages = ()
    program_path = None   # of the daemon, without the first slash
    users = ()            # (name, home)
    groups = ()

    def version(self):
        return ""


class Postfix(MTA):
    name = "Postfix"
    packages = ("postfix",)
    program_path = "usr/lib/postfix/sbin/master"
    users = (("postfix", "/var/spool/postfix"),)
    groups = ("postdrop",)

    def version(self):
        return subprocess.run(["postconf", "-h", "-d", "mail_version"],
                              capture_output=True, text=True).stdout.strip()

    @staticmethod
    def main_cf(d, settings):
        """settings come on top of what the place of the files asks for."""
        fixed = {
            "compatibility_level": "3.6", "queue_directory": f"{d}/spool",
            "data_directory": f"{d}/data",
            "daemon_directory": "/usr/lib/postfix/sbin",
            "command_directory": "/usr/sbin",
            "shlib_directory": "/usr/lib/postfix", "alias_maps": "",
            "inet_protocols": "ipv4", "local_recipient_maps": "",
            "mydestination": "",
        }
        return "".join(f"{k} = {v}\n" for k, v in
                       {**fixed, **settings}.items())

    @staticmethod
    def master_cf(address, port):
        rows = [f"{address}:{port} inet n - n - - smtpd"]
        public = ("pickup", "cleanup", "qmgr", "flush", "showq")
        as_root = ("local", "virtual")
        rows += [f"{name} {'unix-dgram' if name == 'postlog' else 'unix'} "
                 f"{'n' if name in public else '-'} "
                 f"{'n' if name in as_root else '-'} n "
                 f"{wake} {limit} {program}"
                 for name, wake, limit, program in (
                     ("pickup", "60", "1", "pickup"),
                     ("cleanup", "-", "0", "cleanup"),
                     ("qmgr", "300", "1", "qmgr"),
                     ("rewrite", "-", "-", "trivial-rewrite"),
                     ("bounce", "-", "0", "bounce"),
                     ("defer", "-", "0", "bounce"),
                     ("trace", "-", "0", "bounce"),
                     ("verify", "-", "1", "verify"),
                     ("flush", "1000?", "0", "flush"),
                     ("proxymap", "-", "-", "proxymap"),
                     ("smtp", "-", "-", "smtp"),
                     ("relay", "-", "-", "smtp"),
                     ("showq", "-", "-", "showq"),
                     ("error", "-", "-", "error"),
                     ("retry", "-", "-", "error"),
                     ("discard", "-", "-", "discard"),
                     ("local", "-", "-", "local"),
                     ("virtual", "-", "-", "virtual"),
                     ("anvil", "-", "1", "anvil"),
                     ("scache", "-", "1", "scache"),
                     ("postlog", "-", "1", "postlogd"))]
        return "\n".join(rows) + "\n"

    def install(self, d, address, port, settings):
        """Writes files and queue; returns the command to run."""
        write(f"{d}/etc/main.cf", self.main_cf(d, settings))
        write(f"{d}/etc/master.cf", self.master_cf(address, port))
        make_dir(f"{d}/spool")
        make_dir(f"{d}/data", "postfix", "postfix", 0o700)
        for sub in ("active bounce corrupt defer deferred flush hold "
                    "incoming private saved trace").split():
            make_dir(f"{d}/spool/{sub}", "postfix", mode=0o700)
        make_dir(f"{d}/spool/public", "postfix", "postdrop", 0o710)
        make_dir(f"{d}/spool/maildrop", "postfix", "postdrop", 0o730)
        make_dir(f"{d}/spool/pid")
        return ["/usr/lib/postfix/sbin/master", "-d", "-c", f"{d}/etc"]


class OpenSMTPD(MTA):
    name = "OpenSMTPD"
    packages = ("opensmtpd",)
    program_path = "usr/sbin/smtpd"
    users = (("opensmtpd", "/var/lib/opensmtpd/empty"),
             ("opensmtpq", "/var/lib/opensmtpd/empty"))

    def version(self):
        out = subprocess.run(["smtpd", "-h"], capture_output=True, text=True)
        found = re.search(r"OpenSMTPD ([\w.]+)", out.stdout + out.stderr)
        return found.group(1) if found else ""

    def install(self, d, config):
        write(f"{d}/smtpd.conf", config)
        mount_tmpfs("/var/run")
        mount_tmpfs("/var/lib")
        make_dir("/var/lib/opensmtpd/empty")
        make_dir(f"{d}/spool")
        subprocess.run(["mount", "--bind", f"{d}/spool", "/var/spool"],
                       check=True)
        make_dir("/var/spool/smtpd", mode=0o711)
        return ["/usr/sbin/smtpd", "-d", "-f", f"{d}/smtpd.conf"]


class Exim(MTA):
    name = "Exim"
    packages = ("exim4-daemon-light", "exim4-base")
    program_path = "usr/sbin/exim4"
    users = (("Debian-exim", "/var/spool/exim4"),)

    def version(self):
        out = subprocess.run(["exim4", "-bV"], capture_output=True, text=True)
        found = re.search(r"Exim version (\S+)", out.stdout)
        return found.group(1) if found else ""

    def install(self, d):
        """The configuration is laid over /etc/exim4/exim4.conf; its spool is
        d/spool."""
        make_dir(f"{d}/spool", "Debian-exim", "Debian-exim", 0o750)
        return ["/usr/sbin/exim4", "-bdf", "-q10s"]


# Outside the namespaces

def unpacked(mta, packages):
    return os.path.join(packages, mta.name.lower())


def download(mta, work):
    """The packages and those of their dependencies that are not installed."""
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(f"{work}/partial")
    # no lock, a cache of our own: nothing of the machine's is touched
    done = subprocess.run(
        ["apt-get", "-y", "-qq", "--no-install-recommends", "--download-only",
         "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root",
         "-o", f"Dir::Cache::archives={work}", "install", *mta.packages],
        capture_output=True, text=True)
    if done.returncode == 0:
        return None
    return "package cannot be downloaded: " + done.stderr.strip()[-300:]


def fetch(mta, packages):
    """Downloads and unpacks the packages of an MTA below the directory
    packages; None, or what went wrong."""
    tree = unpacked(mta, packages)
    if os.path.exists(f"/{mta.program_path}"):
        return None
    if not shutil.which("apt-get"):
        return "not installed, and no apt-get"
    os.makedirs(packages, exist_ok=True)
    with open(f"{packages}/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(f"{tree}/{mta.program_path}"):
            return None
        work = f"{packages}/{mta.name.lower()}.download"
        problem = download(mta, work)
        if problem:
            return problem
        shutil.rmtree(f"{tree}.new", ignore_errors=True)
        for deb in glob.glob(f"{work}/*.deb"):
            subprocess.run(["dpkg", "-x", deb, f"{tree}.new"], check=True)
        # only usr is laid over the system; /lib is /usr/lib there
        for sub in "lib", "bin", "sbin":
            if os.path.isdir(f"{tree}.new/{sub}"):
                shutil.copytree(f"{tree}.new/{sub}", f"{tree}.new/usr/{sub}",
                                symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(tree, ignore_errors=True)
        os.rename(f"{tree}.new", tree)
    return None


# Inside the namespaces

def mount_tmpfs(where):
    subprocess.run(["mount", "-t", "tmpfs", "bench", where], check=True)


def overlay(over, where):
    subprocess.run(["mount", "-t", "overlay", "bench", "-o",
                    f"lowerdir={over}:{where}", where], check=True)


def add_users(mta, etc):
    """passwd and group of the machine and the users that the MTA needs."""
    with open("/etc/passwd") as f:
        passwd = f.read()
    with open("/etc/group") as f:
        group = f.read()
    number = 64000
    for name, home in mta.users:
        if not re.search(f"^{name}:", passwd, re.M):
            passwd += f"{name}:x:{number}:{number}::{home}:/usr/sbin/nologin\n"
            group += f"{name}:x:{number}:\n"
        number += 1
    for name in mta.groups:
        if not re.search(f"^{name}:", group, re.M):
            group += f"{name}:x:{number}:\n"
        number += 1
    write(f"{etc}/passwd", passwd)
    write(f"{etc}/group", group)


def enter(mta, d, packages, etc_files, name_server=None):
    """Lays the unpacked package and etc_files, {path: text}, over the system.
    Without a name server only the hosts file is asked for names."""
    etc = f"{d}/over-etc"
    tree = unpacked(mta, packages)
    add_users(mta, etc)
    hosts = "files"
    if name_server is not None:
        hosts = "files dns"
        write(f"{etc}/resolv.conf", f"nameserver {name_server}\n")
    write(f"{etc}/nsswitch.conf", "passwd: files\ngroup: files\n"
          f"shadow: files\nhosts: {hosts}\nservices: files\n")
    for path, text in etc_files.items():
        write(f"{etc}/{path}", text)
    if os.path.isdir(f"{tree}/usr"):
        overlay(f"{tree}/usr", "/usr")
    overlay(etc, "/etc")
