"""An agent that a test started, and what can be seen of it from outside."""

import os
import pathlib
import signal
import subprocess
import time

from . import client as ttrpc

AGENT = os.environ.get("SLUICE_AGENT") or str(
    pathlib.Path(__file__).resolve().parents[3] / "build/bin/agent")
MACHINE = os.environ.get("SLUICE_MACHINE") or os.uname().machine     # As the agent sees it.
SANITIZED = bool(os.environ.get("SLUICE_SANITIZED"))
SECONDS = 60        # For what has to come: a busy machine is slow, and a wait that ends costs nothing.


def until(condition, what, seconds=SECONDS):
    """Polls until the condition is true, and returns what it gave."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.005)
    return found


def runs(pid):
    """Whether a process is there and no zombie."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


class Agent:
    """An agent as a service, on a Unix socket."""

    def __init__(self, directory, *arguments):
        self.path = pathlib.Path(directory) / "agent.sock"
        self.log = pathlib.Path(directory) / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([AGENT, "--unix", str(self.path), *arguments],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.pid = self.process.pid
        self.clients = []
        until(lambda: self._answers() or self.process.poll() is not None, "the agent listens")
        assert self.process.poll() is None, self.log.read_text()

    def _answers(self):
        """Only then all that it was told to listen on is open: this socket is the first."""
        try:
            client = ttrpc.connect(self.path)
        except OSError:
            return False
        try:
            client.ping()
        except (OSError, EOFError):
            return False
        finally:
            client.close()
        return True

    def connect(self):
        made = ttrpc.connect(self.path)
        self.clients.append(made)
        return made

    def close(self):
        for client in self.clients:
            client.close()
        if self.process.poll() is None:
            self.process.terminate()
        assert self.process.wait(SECONDS) == 0, self.log.read_text()

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def connections(self):
        """How many it has open: all its sockets but the one it listens on."""
        links = []
        for fd in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                links.append(os.readlink(f"/proc/{self.pid}/fd/{fd}"))
            except FileNotFoundError:
                pass
        return sum(link.startswith("socket:") for link in links) - 1

    def children(self):
        text = pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in text.split()]

    def rss(self):
        """Bytes of memory that it has at present."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) << 10
        raise AssertionError("no VmRSS")

    def cpu_ticks(self):
        stat = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return int(stat[11]) + int(stat[12])
