"""The gateway under test and the guest behind it.

SLUICE_HOSTD is the program.  SLUICE_PEER=kernel runs the same tests against the kernel's own
router and NAT instead, to tell a wrong test from a wrong gateway; tests of what only hostd has
are skipped then."""
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from . import world as places
from .netns import SECONDS, Namespace, wait_for
from .tools import tool

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
HOSTD = os.environ.get("SLUICE_HOSTD", os.path.join(REPOSITORY, "build/bin/hostd"))
# Whether hostd was built with a sanitizer: slower and larger, so that nothing is timed.
SANITIZED = bool(os.environ.get("SLUICE_SANITIZED"))
PEER = os.environ.get("SLUICE_PEER", "")
GUEST4, GATEWAY4, ALIAS4 = "192.168.127.2", "192.168.127.1", "192.168.127.254"
SUBNET4 = "192.168.127.0/24"
GUEST_MAC = "5a:94:ef:e4:0c:ee"
SANITIZER_OUTPUT = re.compile(
    r"^.*(?:ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|lwIP assert|Assertion ).*$",
    re.M)
PEER_NIC, PEER_GUEST6, PEER_GATEWAY6 = "peer0", "fd51:9e57::2", "fd51:9e57::1"
PEER_NAT = """table inet peer { chain post { type nat hook postrouting priority 100;
oifname "far" masquerade;
}
}
"""
TICKS = os.sysconf("SC_CLK_TCK")


def command(socket_path, *, attach, mtu, profile, dns, publish, arguments, ready_fd, fd=None,
            tap=None):
    """The command line of the gateway under test.  The one place that knows it."""
    if PEER:
        return [tool("tapbridge"), "-l", "-m", mtu or 65520, PEER_NIC, socket_path]
    # A VMM that links libnet.a, in hostd's place; it has no --ready-fd and no status.
    out = [tool("ringbridge"), tap] if attach == "ring" else [HOSTD, "run"]
    if attach in ("qemu", "raw"):
        out += ["--qemu", socket_path]
    elif attach == "qemu-connect":
        out += ["--qemu-connect", socket_path]
    elif attach == "vfkit":
        out += ["--vfkit", socket_path]
    elif attach == "vhost-user":
        out += ["--vhost-user", socket_path]
    elif attach == "fd":
        out += ["--fd", fd]
    elif attach == "tap":
        out += ["--tap", tap]
    if mtu:
        out += ["--mtu", mtu]
    if profile:
        out += ["--profile", profile]
    for server in dns:
        out += ["--dns", server]
    for spec in publish:
        out += ["--publish" if attach == "ring" else "-p", spec]
    if ready_fd is not None:
        out += ["--ready-fd", ready_fd]
    return out + list(arguments)


class StartError(Exception):
    """The gateway ended before it was ready."""

    def __init__(self, status, log):
        super().__init__(f"exit {status}: {log}")
        self.status, self.log = status, log


class Gateway:
    """One running gateway.  `attach` is the kind of NIC; "raw" leaves the socket to the test."""

    def __init__(self, world, *arguments, attach="qemu", mtu=None, profile="all",
                 dns=(places.DNS4,), publish=(), guest=True, configure=True, tap=None,
                 extra_fds=(), wrapper=(), fd=None, before_ready=None, loss_one_in=0,
                 bridge_options=()):
        self.world, self.attach = world, attach
        self.loss_one_in, self.bridge_options = loss_one_in, bridge_options
        self.mtu = mtu or (1500 if attach == "vfkit" else 65520)
        self.directory = tempfile.mkdtemp(prefix="sluice-net-")
        os.chmod(self.directory, 0o777)
        self.socket_path = os.path.join(self.directory, "nic.sock")
        self.log_path = os.path.join(self.directory, "log")
        self.guest = self.process = None
        self.ready, self.ended = {}, None
        ours = theirs = None
        if attach == "fd" and fd is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            fd = theirs.fileno()
        if attach in ("tap", "ring") and tap is None:
            self.guest = Guest(self, start=False)
            tap = f"tap0@{self.guest.ns.path}"
        try:
            if attach == "qemu-connect" and guest:
                self.guest = Guest(self)
            read_end, write_end = (None, None) if PEER or attach == "ring" else os.pipe()
            fds = [f for f in (write_end, fd, *extra_fds) if f is not None]
            line = command(self.socket_path, attach=attach, mtu=mtu, profile=profile, dns=dns,
                           publish=publish, arguments=arguments, ready_fd=write_end, fd=fd,
                           tap=tap)
            with open(self.log_path, "w") as log:
                self.process = world.host.spawn(*wrapper, *line, stdout=log, stderr=log,
                                                pass_fds=fds)
            if write_end is not None:
                os.close(write_end)
            if theirs:
                theirs.close()
            if before_ready:
                before_ready(self)
            if attach != "ring":
                self._wait_ready(read_end)
            if attach in ("tap", "ring"):
                if self.guest:
                    self.guest.ready()
            elif guest and attach != "raw" and not self.guest:
                self.guest = Guest(self, inherited=ours)
            elif self.guest:
                self.guest.ready()
            if self.guest and configure:
                self.guest.configure()
        except BaseException:
            self.stop(check=False)
            raise
        finally:
            if ours:
                ours.close()

    def _wait_ready(self, read_end, limit=60):
        if read_end is None:
            wait_for(lambda: os.path.exists(self.socket_path) or self.process.poll() is not None,
                     what="the socket of the gateway")
            return
        text = b""
        with open(read_end, "rb", buffering=0) as pipe:
            end = time.monotonic() + limit
            while b"\n" not in text:
                if not select.select([pipe], [], [], max(0, end - time.monotonic()))[0]:
                    raise TimeoutError(f"hostd not ready within {limit} s; {self.log()}")
                chunk = pipe.read(65536)
                if not chunk:
                    break
                text += chunk
            if not text:
                status = self.process.wait(SECONDS)
                self.ended = status
                raise StartError(status, self.log())
            self.ready_line = text.decode()
            self.ready = json.loads(self.ready_line)
            assert not pipe.read(1), "--ready-fd must get one line and then be closed"

    def configure_peer(self):
        host = self.world.host
        host.ip(f"addr add {GATEWAY4}/24 dev {PEER_NIC}",
                f"addr add {PEER_GATEWAY6}/64 dev {PEER_NIC} nodad")
        host.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
        host.run("nft", "flush ruleset")
        host.run("nft", "-f", "-", input=PEER_NAT, check=True)

    # ---- what can be seen from outside

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def wait_log(self, pattern, limit=SECONDS, start=0):
        """The first match of the pattern in the log at or after the offset `start`."""
        return wait_for(lambda: re.search(pattern, self.log()[start:]), limit,
                        f"{pattern!r} in the log")

    def denials(self, start=0):
        return [line for line in self.log()[start:].splitlines() if "denied" in line]

    def status(self, limit=SECONDS):
        """hostd's counters, as it writes them on SIGUSR1."""
        start = len(self.log())
        os.kill(self.pid, signal.SIGUSR1)
        match = self.wait_log(r"status (\{.*\})\s*$", limit, start)
        return json.loads(match.group(1))

    def counter(self, path):
        """One counter of the status, by its dotted path; 0 where it does not exist yet."""
        value = self.status()
        for key in path.split("."):
            value = value.get(key, 0) if isinstance(value, dict) else 0
        return value

    def flow_count(self):
        flows = self.status().get("flows", {})
        return sum(v for v in flows.values() if isinstance(v, int))

    def cpu_seconds(self):
        with open(f"/proc/{self.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def idles(self, share=0.05, span=1):
        """Whether it uses no more than that share of a CPU for so many seconds.  What it still had to
        do, or does not get to on a busy machine, is over at some time; a loop that spins is not."""
        before = self.cpu_seconds()
        time.sleep(span)
        return self.cpu_seconds() - before <= share * span

    def fd_count(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def fd_names(self):
        out = []
        for fd in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                out.append(os.readlink(f"/proc/{self.pid}/fd/{fd}"))
            except OSError:
                pass
        return sorted(out)

    def rss_bytes(self):
        with open(f"/proc/{self.pid}/status") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) * 1024

    def port(self, guest_port, proto="tcp"):
        """The host port that reaches a published guest port."""
        for entry in self.ready.get("ports", []):
            if entry.get("guest_port") == guest_port and entry.get("proto") == proto:
                return entry["host_port"]
        raise KeyError(f"{proto}/{guest_port} not in {self.ready}")

    def check_alive(self):
        assert self.process.poll() is None, \
            f"the gateway ended with {self.process.returncode}; log: {self.log()[-3000:]}"
        found = SANITIZER_OUTPUT.search(self.log())
        assert not found, f"{found.group(0)}\n{self.log()[found.start():][:4000]}"

    def stop(self, check=True):
        """Ends the guest and the gateway; with check, the gateway must end by itself, cleanly."""
        try:
            if self.guest:
                self.guest.stop()
            if self.process:
                alive = self.process.poll() is None
                status = self.process.stop(limit=SECONDS)
                if check and alive and not PEER:
                    assert status == 0, \
                        f"SIGTERM: exit {status} (None: killed); {self.log()[-2000:]}"
                    found = SANITIZER_OUTPUT.search(self.log())
                    assert not found, self.log()[found.start():][:4000]
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)


class Guest:
    """A Linux network stack whose only interface, tap0, is the NIC that the gateway serves."""

    def __init__(self, gateway, inherited=None, start=True):
        self.gateway, self.inherited = gateway, inherited
        self.ns = Namespace("guest")
        self.bridge = None
        # Router solicitations go out at once and addresses need no probe, so that tests wait
        # for the gateway and not for the kernel's politeness.
        self.ns.sysctl(net__ipv6__conf__default__router_solicitation_delay=0,
                       net__ipv6__conf__default__router_solicitation_interval=1,
                       net__ipv6__conf__default__accept_dad=0,
                       net__ipv6__conf__default__dad_transmits=0,
                       net__ipv4__ping_group_range="0 2147483647",
                       net__ipv4__tcp_max_syn_backlog=8192, net__core__somaxconn=4096)
        if start:
            self.join()

    def join(self):
        """Starts the bridge: the moment when a VM would power up its NIC."""
        gateway = self.gateway
        options = ["-m", gateway.mtu, "-a", GUEST_MAC]
        where, fds = gateway.socket_path, []
        if gateway.attach == "vhost-user":
            self.bridge = self.ns.spawn(tool("vhostbridge"), *options, *gateway.bridge_options,
                                        "tap0", gateway.socket_path, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
            self.ready()
            return
        if gateway.loss_one_in:
            options += ["-d", gateway.loss_one_in]
        if gateway.attach == "vfkit":
            options += ["-t", "dgram", "-i", "VFKT"]
        if gateway.attach == "qemu-connect":
            options += ["-l"]
        if self.inherited:
            options += ["-f"]
            where, fds = self.inherited.fileno(), [self.inherited.fileno()]
        self.bridge = self.ns.spawn(tool("tapbridge"), *options, "tap0", where, pass_fds=fds,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if gateway.attach != "qemu-connect":
            self.ready()

    def ready(self):
        if self.bridge is None:                 # tap: the gateway made the interface
            wait_for(lambda: self.gateway.process.poll() is not None
                     or self.ns.run("ip", "link", "show", "tap0").returncode == 0, what="tap0 in the guest")
            if self.gateway.process.poll() is not None:
                raise StartError(self.gateway.process.poll(), self.gateway.log())
            self.ns.ip("link set tap0 up")
            return
        if not select.select([self.bridge.stdout], [], [], SECONDS)[0]:
            raise TimeoutError(f"no NIC within {SECONDS} s; gateway: {self.gateway.log()[-1000:]}")
        line = self.bridge.stdout.readline()
        assert "ready" in line, \
            f"no NIC: {self.bridge.stderr.read()}; gateway: {self.gateway.log()[-1000:]}"

    def leave(self):
        """Ends the bridge and with it tap0, as when the VMM goes."""
        if self.bridge:
            self.bridge.stop()
            self.bridge = None

    def kill(self):
        self.bridge.kill()
        self.leave()

    def pause(self):
        os.kill(self.bridge.pid, signal.SIGSTOP)

    def resume(self):
        os.kill(self.bridge.pid, signal.SIGCONT)

    def configure(self):
        if PEER:
            self.gateway.configure_peer()
            self.ns.ip(f"addr add {PEER_GUEST6}/64 dev tap0 nodad",
                       f"route add default via {PEER_GATEWAY6}")
        self.ns.ip(f"addr replace {GUEST4}/24 dev tap0",
                   f"route replace default via {GATEWAY4}")

    def wait_ipv6(self, limit=SECONDS):
        """Waits for SLAAC; returns the guest's global address."""
        def found():
            links = json.loads(self.ns.run("ip", "-j", "-6", "addr", "show", "dev", "tap0").stdout)
            routes = self.ns.run("ip", "-6", "route", "show", "default").stdout
            for entry in links[0]["addr_info"]:
                if entry["scope"] == "global" and not entry.get("tentative") and routes:
                    return entry["local"]
        return wait_for(found, limit, "a global IPv6 address and a default route")

    @property
    def address6(self):
        return self.wait_ipv6()

    @property
    def gateway6(self):
        """The gateway's global address: ::1 of the announced prefix."""
        import ipaddress
        network = ipaddress.ip_interface(self.address6 + "/64").network
        return str(network[1])

    # the namespace's own methods, so that tests read guest.connect(...)
    def __getattr__(self, name):
        if name.startswith("_") or name == "ns":
            raise AttributeError(name)
        return getattr(self.ns, name)

    def stop(self):
        if self.bridge and self.bridge.poll() is None:
            self.resume()
        self.leave()
        self.ns.close()
