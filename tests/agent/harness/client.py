"""A ttrpc client, written for the tests alone: small, blocking, and able to misbehave."""

import collections
import socket
import struct

from . import protocol

REQUEST, RESPONSE, DATA = 1, 2, 3
REMOTE_CLOSED, REMOTE_OPEN, NO_DATA = 1, 2, 4
SECONDS = 60

AGENT = "sluice.agent.v1.Agent"
PROCESS = "sluice.agent.v1.Process"
FILE = "sluice.agent.v1.File"
IMAGE = "sluice.agent.v1.Image"


class CallFailed(Exception):
    """The status that a call ended with."""

    def __init__(self, status):
        super().__init__(f"{status.code}: {status.message}")
        self.code = status.code
        self.message = status.message
        self.detail = None
        for detail in status.details:
            if detail.type_url.endswith("sluice.agent.v1.ErrorDetail"):
                self.detail = protocol.error.ErrorDetail.FromString(detail.value)


class Client:
    """One connection. Frames of streams that are not being read wait in queues."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.settimeout(SECONDS)
        self._next = 1
        self._waiting = collections.defaultdict(collections.deque)

    def close(self):
        self.sock.close()

    def send_frame(self, stream, kind, flags, payload=b""):
        self.sock.sendall(struct.pack(">IIBB", len(payload), stream, kind, flags) + payload)

    def _receive(self, size):
        data = bytearray()
        while len(data) < size:
            chunk = self.sock.recv(min(size - len(data), 1 << 20))
            if not chunk:
                raise EOFError("the agent closed the connection")
            data += chunk
        return bytes(data)

    def read_frame(self, stream):
        """(type, flags, payload) of the next frame of that stream."""
        while not self._waiting[stream]:
            length, number, kind, flags = struct.unpack(">IIBB", self._receive(10))
            self._waiting[number].append((kind, flags, self._receive(length)))
        return self._waiting[stream].popleft()

    def has_read(self, stream):
        """Whether a frame of that stream is here and was not asked for yet."""
        return bool(self._waiting[stream])

    def begin(self, service, method, message, flags=0, timeout_ns=0):
        """Sends a request; returns its stream's number."""
        stream = self._next
        self._next += 2
        request = protocol.envelope.Request(service=service, method=method, timeout_nano=timeout_ns,
                                            payload=message.SerializeToString())
        self.send_frame(stream, REQUEST, flags, request.SerializeToString())
        return stream

    def end(self, stream, response):
        """The answer to a unary call."""
        kind, _, payload = self.read_frame(stream)
        assert kind == RESPONSE, kind
        answer = protocol.envelope.Response.FromString(payload)
        if answer.status.code:
            raise CallFailed(answer.status)
        return response.FromString(answer.payload)

    def call(self, service, method, message, response, timeout_ns=0):
        return self.end(self.begin(service, method, message, timeout_ns=timeout_ns), response)

    def ping(self):
        return self.call(AGENT, "Ping", protocol.agent.PingRequest(), protocol.agent.PingResponse)


class Stream:
    """A call whose answers are a stream, and with REMOTE_OPEN its requests too."""

    def __init__(self, client, service, method, first, response, flags=REMOTE_OPEN):
        self.client = client
        self._request = type(first)
        self._response = response
        self.stream = client.begin(service, method, first, flags=flags)

    def send(self, **message):
        self.client.send_frame(self.stream, DATA, 0,
                               self._request(**message).SerializeToString())

    def close(self):
        """Says that no more is sent."""
        self.client.send_frame(self.stream, DATA, REMOTE_CLOSED | NO_DATA)

    def receive(self):
        """The next message; None at the stream's end."""
        kind, flags, payload = self.client.read_frame(self.stream)
        if kind == RESPONSE:
            raise CallFailed(protocol.envelope.Response.FromString(payload).status)
        if flags & REMOTE_CLOSED:
            return None
        return self._response.FromString(payload)

    def waits(self):
        """Whether a frame of it came while another stream was being read."""
        return self.client.has_read(self.stream)


class Exec(Stream):
    """A call of Process.Exec; of a container's program with `container` and its service."""

    def __init__(self, client, *args, service=PROCESS, **start):
        start = protocol.process.ExecStart(args=args, **start)
        super().__init__(client, service, "Exec", protocol.process.ExecRequest(start=start),
                         protocol.process.ExecResponse)
        self.exit = None
        started = self.receive().started
        self.id = started.id
        self.pid = started.pid

    def finish(self, grant=True):
        """All that it says until its end: (stdout, stderr), and sets `exit`."""
        out = {"stdout": bytearray(), "stderr": bytearray()}
        while (message := self.receive()) is not None:
            kind = message.WhichOneof("message")
            if kind in out:
                data = getattr(message, kind)
                out[kind] += data
                if grant:
                    self.send(grant=len(data))
            elif kind == "exit":
                self.exit = message.exit
        return bytes(out["stdout"]), bytes(out["stderr"])


CREDIT = 256 << 10
PIECE = 64 << 10


class Upload(Stream):
    """A call that takes bytes: File.Write, File.CopyIn, Image.Import."""

    credit = CREDIT
    done = None

    def write(self, data):
        """All of it, as far as the agent grants."""
        view = memoryview(data)
        while view:
            while self.credit == 0:
                self._take(self.receive())
            piece = view[:min(self.credit, PIECE)]
            self.send(data=bytes(piece))
            self.credit -= len(piece)
            view = view[len(piece):]

    def _take(self, message):
        if message is None:
            return False
        if message.WhichOneof("message") == "grant":
            self.credit += message.grant
        else:
            self.done = message.done
        return True

    def finish(self):
        """Says the end; what came of it."""
        self.send(end=True)
        while self._take(self.receive()):
            pass
        return self.done


class Download(Stream):
    """A call that gives bytes: File.Read, File.CopyOut."""

    info = None
    done = None

    def take(self, grant=True):
        """The next bytes; None at the end."""
        while (message := self.receive()) is not None:
            kind = message.WhichOneof("message")
            if kind == "data":
                if grant:
                    self.send(grant=len(message.data))
                return message.data
            setattr(self, kind, getattr(message, kind))
        return None

    def all(self):
        got = bytearray()
        while (piece := self.take()) is not None:
            got += piece
        return bytes(got)


def connect(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(SECONDS)
    sock.connect(str(path))
    return Client(sock)
