"""Containers by an agent that a test started, with a root file system of busybox."""

import functools
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest

from . import agent as agents
from . import client as ttrpc
from . import protocol

CONTAINER = "sluice.agent.v1.Container"
messages = protocol.container
RUNTIME = "/usr/bin/crun"
NO_NAMESPACES = 77          # in_cgroup.py's exit
UNIFIED = next((pathlib.Path(line.split()[1]) for line in
                pathlib.Path("/proc/self/mounts").read_text().splitlines()
                if line.split()[2] == "cgroup2"), None)


def why_not():
    """What this machine lacks, or nothing."""
    for program in (RUNTIME, "/usr/bin/busybox"):
        if not os.access(program, os.X_OK):
            return f"there is no {program}"
    if UNIFIED is None:
        return "there is no cgroup2"
    return None


@functools.cache
def rules_of_devices():
    """Whether the runtime may load a device rule: it wants RLIMIT_MEMLOCK without limit."""
    script = ("import resource as r; "
              "r.setrlimit(r.RLIMIT_MEMLOCK, (r.RLIM_INFINITY, r.RLIM_INFINITY))")
    return subprocess.run([sys.executable, "-c", script], stderr=subprocess.DEVNULL,
                          check=False).returncode == 0


def make_rootfs(directory):
    root = pathlib.Path(directory)
    (root / "bin").mkdir(parents=True)
    for name in ("etc", "tmp", "proc", "sys", "dev", "root"):
        (root / name).mkdir()
    shutil.copy("/usr/bin/busybox", root / "bin/busybox")
    for name in subprocess.run(["/usr/bin/busybox", "--list"], capture_output=True, text=True,
                               check=True).stdout.split():
        if name != "busybox":
            (root / "bin" / name).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n"
                                     "worker:x:1234:1235::/tmp:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nworkers:x:1235:\nextra:x:1300:worker\n")
    (root / "bin/plain").write_text("no program\n")
    return root


class ContainerAgent(agents.Agent):
    """An agent with directories, a cgroup hierarchy and a network of its own."""

    def __init__(self, directory, *arguments, runtime=RUNTIME):
        # Sockets have short paths.
        self.home = pathlib.Path(directory)
        self.state = self.home / "s"
        self.data = self.home / "d"
        self.cgroup = UNIFIED / f"sluice-test-{os.getpid()}-{self.home.name}"
        self.path = self.home / "agent.sock"
        self.log = self.home / "log"
        self.arguments = ["--unix", str(self.path), "--state", str(self.state), "--data",
                          str(self.data), "--runtime", runtime, *arguments]
        self.clients = []
        with open(self.log, "ab") as log:
            self.holder = subprocess.Popen(
                [sys.executable, str(pathlib.Path(__file__).with_name("in_cgroup.py")),
                 self.cgroup.name, "sleep", "infinity"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        agents.until(self._is_held, "the namespaces are there")
        self.start()

    def _is_held(self):
        if self.holder.poll() == NO_NAMESPACES:
            pytest.skip(f"agent tests skipped: {self.log.read_text().strip()}")
        assert self.holder.poll() is None, self.log.read_text()
        return pathlib.Path(f"/proc/{self.holder.pid}/comm").read_text() == "sleep\n"

    def start(self):
        """In the namespaces of the one before, where there was one."""
        with open(self.log, "ab") as log:
            # nsenter becomes the program.
            self.process = subprocess.Popen(
                ["nsenter", "--target", str(self.holder.pid), "--mount", "--net", "--cgroup",
                 agents.AGENT, *self.arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        (self.cgroup / "agent/cgroup.procs").write_text(str(self.process.pid))
        self.pid = self.process.pid
        agents.until(lambda: self._answers() or self.process.poll() is not None, "it listens")
        assert self.process.poll() is None, self.log.read_text()

    def kill(self):
        """As the kernel would in want of memory: no word, no clean-up."""
        os.kill(self.pid, signal.SIGKILL)
        self.process.wait(agents.SECONDS)
        for client in self.clients:
            client.close()
        self.clients = []

    def close(self):
        for client in self.clients:
            client.close()
        if self.process.poll() is None:
            self.process.terminate()
        status = self.process.wait(agents.SECONDS)
        if (self.cgroup / "sluice/cgroup.kill").exists():
            (self.cgroup / "sluice/cgroup.kill").write_text("1")
        agents.until(lambda: not self.shims(), "the shims end")
        self.holder.kill()
        self.holder.wait()
        agents.until(self._remove_cgroups, "its cgroups are empty")
        assert status == 0, self.log.read_text()

    def _remove_cgroups(self):
        """What was killed is in its cgroup until it has ended."""
        try:
            for directory in sorted(self.cgroup.rglob("*/"), key=lambda one: -len(str(one))):
                directory.rmdir()
            self.cgroup.rmdir()
        except OSError:
            return False
        return True

    def inside(self, *command, check=True):
        """A command of the machine, in the agent's namespaces."""
        return subprocess.run(["nsenter", "--target", str(self.holder.pid), "--mount", "--net",
                               *command], capture_output=True, text=True, check=check)

    def shims(self, container=""):
        """Their pids; of one container, where its id is said. One ends a moment after its
        container's end is told."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                zombie = (entry / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
            except (FileNotFoundError, ProcessLookupError):
                continue
            if words[1:2] == [b"shim"] and str(self.state).encode() in words[3] and not zombie \
                    and words[2].startswith(container.encode()):
                found.append(int(entry.name))
        return found

    def mounts(self):
        text = pathlib.Path(f"/proc/{self.holder.pid}/mounts").read_text()
        return [line for line in text.splitlines() if str(self.home) in line]

    def cgroups(self):
        top = self.cgroup / "sluice"
        return [one.name for one in top.iterdir() if one.is_dir()] if top.exists() else []


class Box:
    """Calls about containers, on one connection."""

    def __init__(self, client, rootfs):
        self.client = client
        self.rootfs = str(rootfs)

    def call(self, method, **fields):
        return self.client.end(self.begin(method, **fields), self.response(method))

    @staticmethod
    def response(method):
        names = {"List": "ListContainersResponse", "Stats": "ContainerStatsResponse"}
        return getattr(messages, names.get(method, f"{method}ContainerResponse"))

    def begin(self, method, deadline_ns=0, **fields):
        names = {"List": "ListContainersRequest", "Stats": "ContainerStatsRequest"}
        request = getattr(messages, names.get(method, f"{method}ContainerRequest"))
        return self.client.begin(CONTAINER, method, request(**fields), timeout_ns=deadline_ns)

    def create(self, *args, **fields):
        fields.setdefault("rootfs", self.rootfs)
        if fields["rootfs"] is None:
            del fields["rootfs"]
        fields.setdefault("all_devices", not rules_of_devices())
        return self.call("Create", args=args, **fields)

    def run(self, *args, **fields):
        """Its id, when it runs."""
        made = self.create(*args, **fields).id
        self.call("Start", container=made)
        return made

    def wait(self, container, deadline_ns=0):
        return self.call("Wait", container=container, deadline_ns=deadline_ns).exit

    def ended(self, *args, **fields):
        """The exit of a program that is run to its end, and all of its output."""
        made = self.run(*args, **fields)
        status = self.wait(made)
        out = self.logs(made).text()
        self.call("Remove", container=made)
        return status, out

    def state(self, container):
        info = self.call("Inspect", container=container).info
        return messages.ContainerInfo.State.Name(info.state)

    def info(self, container):
        return self.call("Inspect", container=container).info

    def logs(self, container, **start):
        return Logs(self.client, container, **start)

    def attach(self, container, **start):
        return Attach(self.client, container, **start)


class Logs(ttrpc.Stream):
    """A call of Container.Logs."""

    def __init__(self, client, container, **start):
        start = messages.LogsStart(container=container, **start)
        super().__init__(client, CONTAINER, "Logs", messages.LogsRequest(start=start),
                         messages.LogsResponse)
        self.end = None

    def records(self, grant=True):
        while (message := self.receive()) is not None:
            if message.WhichOneof("message") == "end":
                self.end = message.end
                assert self.receive() is None
                return
            if grant:
                self.send(grant=len(message.record.data))
            yield message.record

    def text(self):
        return b"".join(record.data for record in self.records())

    def reason(self):
        return messages.LogEnd.Reason.Name(self.end.reason)


class Attach(ttrpc.Stream):
    """A call of Container.Attach."""

    def __init__(self, client, container, **start):
        start = messages.AttachStart(container=container, **start)
        super().__init__(client, CONTAINER, "Attach", messages.AttachRequest(start=start),
                         messages.AttachResponse)
        self.exit = None
        self.attached = self.receive().attached

    def finish(self, each=None):
        """(stdout, stderr) until the end, and sets `exit`."""
        out = {"stdout": bytearray(), "stderr": bytearray()}
        while (message := self.receive()) is not None:
            kind = message.WhichOneof("message")
            if kind in out:
                data = getattr(message, kind)
                self.send(grant=len(data))
                if each:
                    each(data)
                else:
                    out[kind] += data
            elif kind == "exit":
                self.exit = message.exit
        return bytes(out["stdout"]), bytes(out["stderr"])

    def read_until(self, wanted):
        seen = b""
        while wanted not in seen:
            message = self.receive()
            assert message is not None and message.WhichOneof("message") != "exit", seen
            self.send(grant=len(message.stdout))
            seen += message.stdout
        return seen


class ContainerExec(ttrpc.Exec):
    """A call of Container.Exec."""

    def __init__(self, client, container, *args, **start):
        super().__init__(client, *args, service=CONTAINER, container=container, **start)


def fixtures():
    """(rootfs, agent, client, box) of a test file."""

    @pytest.fixture(scope="module")
    def rootfs(tmp_path_factory):
        return make_rootfs(tmp_path_factory.mktemp("rootfs") / "root")

    @pytest.fixture(scope="module")
    def agent(request):
        directory = home()
        made = ContainerAgent(directory, *getattr(request.module, "AGENT_ARGUMENTS", []))
        yield made
        made.close()
        shutil.rmtree(directory)

    @pytest.fixture
    def client(agent):
        made = agent.connect()
        yield made
        made.close()

    @pytest.fixture
    def box(agent, client, rootfs):
        made = Box(client, rootfs)
        yield made
        # The test may have ended the agent, and started another.
        last = made if client in agent.clients else Box(agent.connect(), rootfs)
        for one in last.call("List", all=True).containers:
            last.call("Remove", container=one.id, force=True)

    return rootfs, agent, client, box


def home():
    """A directory with a short name, as sockets need."""
    return tempfile.mkdtemp(prefix="slc-", dir="/tmp")


