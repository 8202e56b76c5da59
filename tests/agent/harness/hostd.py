"""A hostd beside an agent, without a VM: its guest's NIC stays unconnected, its network is an empty
namespace's."""

import json
import os
import pathlib
import select
import subprocess

from . import client as ttrpc
from .agent import AGENT, SECONDS, until

HOSTD = os.environ.get("SLUICE_HOSTD") or str(pathlib.Path(AGENT).with_name("hostd"))
HOSTCTL = str(pathlib.Path(HOSTD).with_name("hostctl"))


class Hostd:
    """`hostd run --agent ENDPOINT`, ready, with its sockets in `directory`."""

    def __init__(self, directory, endpoint):
        self.directory = pathlib.Path(directory)
        self.api = self.directory / "hostd.sock"
        self.path = self.directory / "hostd.agent.sock"
        self.log = self.directory / "hostd.log"
        reader, writer = os.pipe()
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["unshare", "--net", HOSTD, "run", "--qemu", str(self.directory / "nic"),
                 "--api", str(self.api), "--agent", endpoint, "--runas", "root",
                 "--dns", "192.0.2.1", "--ready-fd", str(writer)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[writer],
                env=os.environ | {"XDG_STATE_HOME": str(self.directory)})
        os.close(writer)
        with os.fdopen(reader, encoding="utf-8") as pipe:
            assert select.select([pipe], [], [], SECONDS)[0], "hostd is not ready"
            assert pipe.readline(), self.log.read_text()
        self.pid = self.process.pid
        self.clients = []

    def connect(self):
        made = ttrpc.connect(self.path)
        self.clients.append(made)
        return made

    def wait_for_agent(self):
        def answers():
            probe = ttrpc.connect(self.path)
            try:
                return probe.ping()
            except ttrpc.CallFailed:
                return None
            finally:
                probe.close()
        return until(answers, "the agent answers hostd")

    def ctl(self, *arguments, stdin=None, **options):
        """hostctl to its end; output as bytes."""
        return subprocess.run([HOSTCTL, "-n", str(self.api), *map(str, arguments)], input=stdin,
                              capture_output=True, timeout=SECONDS, check=False, **options)

    def status(self):
        return json.loads(self.ctl("--json", "status").stdout)["agent"]

    def close(self):
        for client in self.clients:
            client.close()
        if self.process.poll() is None:
            self.process.terminate()
        assert self.process.wait(SECONDS) == 0, self.log.read_text()


class Following:
    """A command that goes on, and what it prints."""

    def __init__(self, hostd, *words):
        self.process = subprocess.Popen([HOSTCTL, "-n", str(hostd.api), *words],
                                        stdout=subprocess.PIPE, bufsize=0)

    def line(self):
        assert select.select([self.process.stdout], [], [], 60)[0], "it says nothing"
        return self.process.stdout.readline().decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
