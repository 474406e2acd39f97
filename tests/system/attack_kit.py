# SPDX-License-Identifier: ISC
"""What test_attacks attacks with: a client that sends bytes, a server that
keeps them, a program that sends frames to a Unix socket."""
import socket
import threading


class Client:
    """One SMTP connection, byte by byte."""

    def __init__(self, port, source="127.0.0.1", greet=True):
        self.s = socket.create_connection(("127.0.0.1", port), timeout=60,
                                          source_address=(source, 0))
        self.f = self.s.makefile("rb")
        self.banner = self.reply()
        if greet:
            self.do(b"EHLO c.test")

    def reply(self):
        """The last line of the next reply; b"" at the end."""
        while True:
            try:
                line = self.f.readline()
            except OSError:
                return b""
            if line[3:4] != b"-":
                return line

    def do(self, *commands):
        r = b""
        for c in commands:
            try:
                self.s.sendall(c + b"\r\n")
            except OSError:
                return b""
            r = self.reply()
        return r

    def begin(self, rcpt=b"b@sink.test", sender=b"a@x.test"):
        return self.do(b"MAIL FROM:<" + sender + b">",
                       b"RCPT TO:<" + rcpt + b">", b"DATA")

    def send(self, data):
        try:
            self.s.sendall(data)
        except OSError:
            pass
        return self.reply()

    def close(self):
        self.s.close()


class RawSink:
    """A server that keeps the bytes as they came. answer(verb, line) gives
    the reply or None for the usual one; verb "." is the end of data."""

    def __init__(self, answer=None):
        self.answer = answer or (lambda verb, line: None)
        self.s = socket.create_server(("127.0.0.1", 0))
        self.port = self.s.getsockname()[1]
        self.commands, self.messages = [], []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                c, _ = self.s.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(c,),
                             daemon=True).start()

    def serve(self, c):
        buf, rcpts = b"220 sink\r\n", []
        try:
            c.sendall(buf)
            buf = b""
            while True:
                while b"\n" not in buf:
                    part = c.recv(65536)
                    if not part:
                        return
                    buf += part
                line, buf = buf.split(b"\n", 1)
                self.commands.append(line + b"\n")
                verb = line[:4].upper().strip()
                usual = b"250 ok"
                if verb == b"EHLO":
                    usual = (b"250-sink\r\n250-8BITMIME\r\n250-SMTPUTF8"
                             b"\r\n250 DSN")
                if verb == b"DATA":
                    usual = b"354 go"
                if verb == b"QUIT":
                    usual = b"221 bye"
                if verb == b"MAIL":
                    rcpts = []
                if verb == b"RCPT":
                    rcpts.append(line)
                r = self.answer(verb, line) or usual
                c.sendall(r + b"\r\n")
                if verb == b"DATA" and r[:1] == b"3":
                    buf = self.data(c, buf, rcpts)
        except OSError:
            pass
        finally:
            c.close()

    def data(self, c, buf, rcpts):
        while b"\r\n.\r\n" not in buf and not buf.startswith(b".\r\n"):
            part = c.recv(65536)
            if not part:
                return b""
            buf += part
        n = 0 if buf.startswith(b".\r\n") else buf.index(b"\r\n.\r\n") + 2
        self.messages.append((rcpts, buf[:n]))
        c.sendall((self.answer(b".", buf[:n]) or b"250 taken") + b"\r\n")
        return buf[n + 3:]

    def destroy(self):
        # or accept() of the old thread takes what comes to the next sink,
        # whose socket gets the same descriptor
        self.s.shutdown(socket.SHUT_RDWR)
        self.s.close()


FRAMES = r"""
import os, random, socket, struct, sys
path, n, uid, request = sys.argv[1], *map(int, sys.argv[2:5])
if uid:
    os.setgroups([]); os.setgid(uid); os.setuid(uid)
rng = random.Random(23)
def frame(kind, body, length=None, fds=0):
    return struct.pack("<IHH", 8 + len(body) if length is None else length,
                       kind, fds) + body
done = refused = 0
while done < n:
    try:
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(5)
        s.connect(path)
    except OSError:
        refused += 1
        done += 1
        continue
    try:
        for _ in range(rng.randrange(1, 20)):
            done += 1
            how = rng.randrange(7)
            body = rng.randbytes(rng.randrange(0, 200))
            if how == 0: x = body
            elif how == 1: x = frame(rng.randrange(60), body)
            elif how == 2: x = frame(request, body, rng.randrange(2**32))
            elif how == 3: x = frame(request, body, fds=rng.randrange(9))
            elif how == 4: x = frame(request, struct.pack("<I", 2**31) + body)
            elif how == 5: x = b"\xff" * rng.randrange(1, 40)
            else:
                words = [rng.randbytes(rng.randrange(0, 40)) for _ in range(
                    rng.randrange(0, 70))]
                words[:1] = [rng.choice([b"list", b"show", b"pause",
                                         b"schedule"])]
                x = frame(request, struct.pack("<I", len(words)) + b"".join(
                    struct.pack("<I", len(w)) + w for w in words))
            s.sendall(x)
        if rng.randrange(4) == 0:
            s.recv(100)
    except OSError:
        pass
    s.close()
print(done, refused)
"""
