"""Many TCP flows from guest to world at once, both ways, every byte checked, and opened anew
whenever they are cut."""
import errno
import itertools
import random
import select
import socket
import threading
import time
from dataclasses import dataclass

from .netns import wait_for

BLOCK = random.Random(1).randbytes(65521)
DOUBLE = BLOCK + BLOCK
CHUNK, READ = 1400, 32768
TICK = 0.01                     # seconds between the chunks of a flow
RETRY = 0.03
RAW_HEAD = 16
REFUSED = b"HTTP/1.1 403 "


@dataclass(frozen=True)
class Kind:
    """Flows to one place: how many, how they begin, and whether they may ever be cut."""
    label: str
    address: str
    port: int
    count: int
    host: str = ""              # of an HTTP request; without, they begin in no known words
    steady: bool = False

    def head(self, number):
        if self.host:
            return (f"PUT / HTTP/1.1\r\nHost: {self.host}\r\nContent-Length: 999999999999\r\n"
                    f"X-Flow: {number}\r\n\r\n").encode()
        return b"\1%c flow %7d\n" % (b"fs"[self.steady], number)


def pattern(seed, at, size):
    start = (seed * 7919 + at) % len(BLOCK)
    return DOUBLE[start:start + size]


class _End:
    """One end of a flow.  `number` tells the flow; the client's bytes differ from the server's."""

    def __init__(self, sock, kind=None, number=None):
        self.sock, self.kind, self.number = sock, kind, number
        self.is_client = kind is not None
        self.head = kind.head(number) if self.is_client else b""
        self.sent = self.received = 0
        self.open, self.shut, self.ended = not self.is_client, False, False

    def seed(self, of_client):
        return self.number * 2 + of_client


class Flows:
    """Runs from its making to stop(), in a thread of its own."""

    def __init__(self, guest, world, kinds):
        self.guest, self.kinds, self.errors = guest, kinds, []
        self.carried = {kind.label: 0 for kind in kinds}    # the client's bytes that arrived
        self.cut = {kind.label: 0 for kind in kinds}
        self.clients, self.servers, self.totals, self.retries = {}, {}, {}, []
        self.numbers = itertools.count(1)
        self.stopping = self.over = False
        self.poll = select.epoll()
        self.listeners = {}
        for port in {kind.port for kind in kinds}:
            listener = world.listen("::", port, backlog=1024)
            listener.setblocking(False)
            self.listeners[listener.fileno()] = listener
            self.poll.register(listener, select.EPOLLIN)
        self.labels = {}
        for kind in kinds:
            for _ in range(kind.count):
                self._connect(kind)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def alive(self, label):
        return sum(1 for end in list(self.clients.values()) if end.open and end.kind.label == label)

    def stop(self, limit=60):
        """Lets the steady flows come to their end, and gives how many bytes they had carried."""
        self.stopping = True
        wait_for(lambda: self.over or self.errors, limit, "the end of the steady flows")
        self.close()
        assert not self.errors, self.errors[:3]
        steady = sum(kind.count for kind in self.kinds if kind.steady)
        done = [one for one in self.totals.values() if len(one) == 4]
        assert len(done) == steady, f"{len(done)} of {steady} steady flows came to their end"
        for one in done:
            assert one["client sent"] == one["server received"] > 0, one
            assert one["server sent"] == one["client received"] > 0, one
        return sum(one["client sent"] + one["server sent"] for one in done)

    def close(self):
        self.over = True
        self.thread.join(30)
        for end in [*self.clients.values(), *self.servers.values()]:
            end.sock.close()
        for listener in self.listeners.values():
            listener.close()
        self.poll.close()

    # ---- the thread

    def _run(self):
        due = time.monotonic()
        try:
            while not self.over:
                for fd, events in self.poll.poll(max(0, due - time.monotonic())):
                    if fd in self.listeners:
                        self._accept(self.listeners[fd])
                    elif end := self.clients.get(fd) or self.servers.get(fd):
                        self._ready(end, events)
                if time.monotonic() >= due:
                    due = time.monotonic() + TICK
                    self._tick()
        except Exception as error:
            self.errors.append(repr(error))
            raise

    def _connect(self, kind):
        sock = self.guest.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        error = sock.connect_ex((kind.address, kind.port))
        assert error in (0, errno.EINPROGRESS), error
        self.clients[sock.fileno()] = _End(sock, kind, next(self.numbers))
        self.poll.register(sock, select.EPOLLIN | select.EPOLLOUT)

    def _accept(self, listener):
        try:
            while True:
                sock, _ = listener.accept()
                sock.setblocking(False)
                self.servers[sock.fileno()] = _End(sock)
                self.poll.register(sock, select.EPOLLIN)
        except BlockingIOError:
            pass

    def _ready(self, end, events):
        if not end.open:
            if end.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return self._close(end)
            end.open = True
            self.poll.modify(end.sock, select.EPOLLIN)
            self._send(end)
        if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            self._receive(end)

    def _receive(self, end):
        try:
            data = end.sock.recv(READ)
        except BlockingIOError:
            return
        except OSError:
            return self._close(end)
        if not data:
            return self._ended(end)
        if end.is_client and end.received == 0 and end.kind.host and data.startswith(REFUSED):
            return self._close(end)
        if not end.is_client and end.number is None:
            data = self._take_head(end, data)
            if not data:
                return
        if data != pattern(end.seed(not end.is_client), end.received, len(data)):
            return self._fail(end, f"other bytes than were sent, from {end.received} on")
        end.received += len(data)
        if not end.is_client:
            self.carried[self.labels[end.number].label] += len(data)

    def _take_head(self, end, data):
        end.head += data
        if end.head[:1] == b"\1":
            size = RAW_HEAD
        else:
            size = end.head.find(b"\r\n\r\n") + 4
            if size < 4:
                return b""
        if len(end.head) < size:
            return b""
        head, rest, end.head = end.head[:size], end.head[size:], b""
        end.number = int(head.split(b"X-Flow:")[-1].split(b"flow")[-1])
        self.labels[end.number] = next(k for k in self.kinds if k.head(end.number) == head)
        return rest

    def _ended(self, end):
        """The other side's FIN."""
        if not end.is_client and end.number is not None and self.labels[end.number].steady:
            end.ended = True
            self.poll.modify(end.sock, 0)
            return
        if end.is_client and end.kind.steady and end.shut:
            self._total(end)
            return self._forget(end)
        self._close(end)

    def _total(self, end):
        side, total = "client" if end.is_client else "server", \
            self.totals.setdefault(end.number, {})
        total[side + " sent"], total[side + " received"] = end.sent, end.received

    def _send(self, end):
        try:
            while end.is_client and end.head:
                end.head = end.head[end.sock.send(end.head):]
            if end.ended:
                self._total(end)
                end.sock.shutdown(socket.SHUT_WR)
                return self._forget(end)
            if self.stopping and end.is_client and end.kind.steady and end.sent:
                if not end.shut:
                    end.sock.shutdown(socket.SHUT_WR)
                    end.shut = True
                return
            if end.number is not None and not end.shut:
                end.sent += end.sock.send(pattern(end.seed(end.is_client), end.sent, CHUNK))
        except BlockingIOError:
            pass
        except OSError:
            self._close(end)

    def _tick(self):
        for end in [*self.clients.values(), *self.servers.values()]:
            if end.open:
                self._send(end)
        now = time.monotonic()
        while self.retries and self.retries[0][0] <= now:
            kind = self.retries.pop(0)[1]
            if not self.stopping:
                self._connect(kind)
        if self.stopping and not any(end.kind.steady for end in self.clients.values()):
            self.over = True

    def _close(self, end):
        """An end that was cut, or refused."""
        kind = end.kind if end.is_client else self.labels.get(end.number)
        if kind and kind.steady:
            return self._fail(end, "cut")
        if end.is_client:
            self.cut[kind.label] += end.open
            self.retries.append((time.monotonic() + RETRY, kind))
        self._forget(end)

    def _fail(self, end, what):
        self.errors.append(f"{end.kind or self.labels.get(end.number)} flow {end.number}, "
                           f"{'client' if end.is_client else 'server'}: {what}")
        self._forget(end)

    def _forget(self, end):
        (self.clients if end.is_client else self.servers).pop(end.sock.fileno())
        end.sock.close()
