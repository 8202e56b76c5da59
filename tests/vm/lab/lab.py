"""Everything a test or the demo needs, made in one place and removed in one place."""

import contextlib
import os
import pathlib
import shutil
import tempfile

from .agent_vm import AgentVm
from .hostd import Hostd, hostd_binary
from .process import LabError
from .vm import QEMU, Vm, build_image
from .world import DNS4, World

TOOLS = [QEMU, "ip", "nsenter", "unshare", "curl"]


def why_not():
    """The reason why no VM can run here, or None."""
    for tool in TOOLS:
        if not shutil.which(tool):
            return f"{tool} is not installed; scripts/setup installs it"
    if os.geteuid() != 0:
        return "root is needed to make network namespaces"
    return None


class Lab:
    """A context manager: inside it the world is up; at its end nothing of it is left.

    Programs started by `hostd` and `vm` end with the lab, or earlier by their own `close`.
    """

    def __enter__(self):
        if reason := why_not():
            raise LabError(reason)
        if not hostd_binary().exists():
            raise LabError(f"{hostd_binary()} does not exist; scripts/build makes it")
        with contextlib.ExitStack() as stack:
            # Not mkdtemp's 0700: hostd drops to another user and still has to reach its sockets.
            self.directory = pathlib.Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-vm-")))
            self.directory.chmod(0o711)
            self.world = stack.enter_context(contextlib.closing(World(self.directory)))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception):
        self._stack.close()

    def hostd(self, *arguments, name="hostd"):
        """Starts hostd in the namespace `host`; it asks the DNS server of the world."""
        return self._stack.enter_context(contextlib.closing(
            Hostd(self.world.host, self.directory, "--dns", DNS4, *arguments, name=name)))

    def agent_vm(self, nic, name, append=""):
        """Boots a VM whose init is the agent."""
        return self._stack.enter_context(contextlib.closing(AgentVm(self, nic, name, append)))

    def vm(self, nic, name="vm"):
        """Boots a VM with the network device `nic` of lab.vm."""
        return self._stack.enter_context(contextlib.closing(
            Vm(build_image(), self.world.host, nic, self.directory, name)))
