"""Network namespaces without names: each lives as long as a file descriptor or a process of
ours does, so nothing is left behind, whatever ends the test run."""
import ctypes
import os
import socket
import subprocess
import threading
import time

CLONE_NEWNET = 0x40000000
SECONDS = 30                    # for what has to come: a busy machine is slow
_libc = ctypes.CDLL(None, use_errno=True)
_entered = threading.local()
processes = []  # every process the harness started that has not been waited for


def _check(result, what):
    if result:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def _own():
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Process(subprocess.Popen):
    """A child of ours: dies with us, and is known to the check at the session's end."""

    def __init__(self, command, **kw):
        kw.setdefault("stdin", subprocess.DEVNULL)
        command = [str(part) for part in command]
        super().__init__(["setpriv", "--pdeathsig", "KILL", "--", *command], **kw)
        self.name = os.path.basename(command[0])
        processes.append(self)

    def stop(self, limit=20):
        """SIGTERM, then SIGKILL after the limit; returns the exit status, None if killed."""
        killed = False
        if self.poll() is None:
            self.terminate()
            try:
                self.wait(limit)
            except subprocess.TimeoutExpired:
                self.kill()
                self.wait()
                killed = True
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream:
                stream.close()
        if self in processes:
            processes.remove(self)
        return None if killed else self.returncode


class Namespace:
    """`with ns:` puts the calling thread into it; sockets and children made there stay there."""

    def __init__(self, label):
        self.label = label
        before = _own()
        try:
            _check(_libc.unshare(CLONE_NEWNET), "unshare")
            self.fd = _own()
        finally:
            _check(_libc.setns(before, CLONE_NEWNET), "setns")
            os.close(before)
        self.path = f"/proc/{os.getpid()}/fd/{self.fd}"
        self.ip("link set lo up")

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self):
        stack = _entered.__dict__.setdefault("stack", [])
        stack.append(_own())
        _check(_libc.setns(self.fd, CLONE_NEWNET), "setns")
        return self

    def __exit__(self, *error):
        before = _entered.stack.pop()
        _check(_libc.setns(before, CLONE_NEWNET), "setns")
        os.close(before)

    def run(self, *command, timeout=60, **kw):
        """Runs a command to its end; returns what subprocess.run returns, output as text."""
        kw.setdefault("capture_output", True)
        kw.setdefault("text", True)
        with self:
            return subprocess.run([str(c) for c in command], timeout=timeout, **kw)

    def spawn(self, *command, **kw):
        with self:
            return Process(command, **kw)

    def ip(self, *lines):
        """`ip` commands, one a string, as one batch."""
        done = self.run("ip", "-batch", "-", input="\n".join(lines) + "\n")
        if done.returncode:
            raise RuntimeError(f"ip in {self.label}: {done.stderr.strip()} of {lines}")

    def sysctl(self, **values):
        """Keys with `__` for `.` and `_` as they are: net__ipv4__ip_forward=1."""
        with self:
            for key, value in values.items():
                with open("/proc/sys/" + key.replace("__", "/"), "w") as f:
                    f.write(str(value))

    # ---- sockets

    def socket(self, family, kind, proto=0):
        with self:
            return socket.socket(family, kind, proto)

    def listen(self, address, port=0, backlog=128):
        s = self.socket(family_of(address), socket.SOCK_STREAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((address, port))
        s.listen(backlog)
        s.settimeout(SECONDS)
        return s

    def connect(self, address, port, timeout=SECONDS, source=None):
        """A TCP connection; raises what the kernel says (ConnectionRefusedError, OSError)."""
        s = self.socket(family_of(address), socket.SOCK_STREAM)
        s.settimeout(timeout)
        try:
            if source:
                s.bind(source)
            s.connect((address, port))
        except BaseException:
            s.close()
            raise
        return s

    def udp(self, address=None, port=0, family=None, timeout=SECONDS):
        s = self.socket(family or family_of(address), socket.SOCK_DGRAM)
        s.settimeout(timeout)
        if address is not None:
            s.bind((address, port))
        return s

    def packets(self, interface, timeout=SECONDS):
        """A raw socket that sends and receives whole frames of the interface."""
        with self:
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            s.bind((interface, 0))
        s.settimeout(timeout)
        return s


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def wait_for(condition, limit=SECONDS, what="the condition", step=0.005):
    """Polls until the condition gives a true value, which is returned; TimeoutError if not."""
    end = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {limit} s")
        time.sleep(step)
