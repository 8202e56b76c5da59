"""Fixtures of the namespace tests.  README says how to run them.

`world`    host and world namespaces, one pair per test process
`net`      a gateway with `--profile all` and a guest, shared by the tests of one file, whose
           NET, if it has one, says more of Gateway's options
`gateway`  a factory of gateways of a test's own: gateway(*arguments, attach=..., publish=...)
`attack`   a factory of gateways with a hostile guest, and a recorder of what leaves the host
`dns`, `http`, `load`  servers in world"""
import os
import shutil
import signal

import pytest

from harness import gateway as gateways
from harness import attack as attacks
from harness import netns, servers
from harness.world import World


def _ended(*_):
    raise KeyboardInterrupt("SIGTERM")


def pytest_configure(config):
    signal.signal(signal.SIGTERM, _ended)       # so that the fixtures clean up
    for line in ("long: the full-size form of a test that by default runs scaled down",
                 "hostd: about something that only hostd has",
                 "timing: asserts CPU time, memory or rates; left out under sanitizers"):
        config.addinivalue_line("markers", line)
    if os.getuid() != 0 or not os.path.exists("/dev/net/tun"):
        pytest.exit("the namespace tests need root and /dev/net/tun", 2)
    if gateways.PEER:
        if gateways.PEER != "kernel" or not shutil.which("nft"):
            pytest.exit("SLUICE_PEER: only `kernel` is known, and it needs nft", 2)
    elif not os.access(gateways.HOSTD, os.X_OK):
        pytest.exit(f"no hostd at {gateways.HOSTD}: build it, or set SLUICE_HOSTD", 2)


def pytest_collection_modifyitems(config, items):
    if not config.option.markexpr:
        chosen = [i for i in items if not i.get_closest_marker("long")]
        config.hook.pytest_deselected(items=[i for i in items if i not in chosen])
        items[:] = chosen
    if gateways.SANITIZED:
        for item in items:
            if item.get_closest_marker("timing"):
                item.add_marker(pytest.mark.skip(reason="not with a sanitizer"))
    if gateways.PEER:
        for item in items:
            if item.get_closest_marker("hostd"):
                item.add_marker(pytest.mark.skip(reason="only hostd has this"))


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_behind():
    yield
    left = [f"{p.name} ({p.pid})" for p in netns.processes if p.poll() is None]
    for process in list(netns.processes):
        process.stop()
    assert not left, f"processes left: {left}"


@pytest.fixture(scope="session")
def world(nothing_is_left_behind):
    made = World()
    yield made
    made.close()


class _Running:
    """The gateway of one test file; started again after a test in which it ended."""

    def __init__(self, world, options):
        self.world, self.options, self.gateway = world, options, None

    def get(self):
        if self.gateway and self.gateway.process.poll() is not None:
            self.stop()
        if not self.gateway:
            self.gateway = gateways.Gateway(self.world, **self.options)
        return self.gateway

    def stop(self):
        if self.gateway:
            gateway, self.gateway = self.gateway, None
            gateway.stop()


@pytest.fixture(scope="module")
def _running(world, request):
    running = _Running(world, getattr(request.module, "NET", {}))
    yield running
    running.stop()


@pytest.fixture
def net(_running, request):
    gateway = _running.get()
    start = len(gateway.log())
    yield gateway
    _show_log(request, gateway, start)
    gateway.check_alive()


@pytest.fixture
def gateway(world, request, _running):
    made = []
    if gateways.PEER:
        _running.stop()                         # the kernel has one NAT in the host namespace

    def start(*arguments, **options):
        made.append(gateways.Gateway(world, *arguments, **options))
        return made[-1]

    yield start
    errors = []
    for one in reversed(made):
        _show_log(request, one)
        try:
            one.stop(check=one.process.poll() is None)
        except AssertionError as error:
            errors.append(str(error))
    assert not errors, "\n".join(errors)


def _show_log(request, gateway, start=0):
    report = getattr(request.node, "report", None)
    if report is not None and report.failed:
        lines = [line for line in gateway.log()[start:].splitlines() if " status {" not in line]
        print(f"---- {gateway.process.name} ----", *lines[-40:], sep="\n")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.report = outcome.get_result()


@pytest.fixture(scope="session")
def load(world):
    """The checking server of netload in world; gives its port."""
    server = servers.LoadServer(world.world)
    yield server
    server.stop()


@pytest.fixture
def dns(world):
    server = servers.DnsServer(world.world)
    yield server
    server.stop()


@pytest.fixture
def attack(world, gateway):
    """A factory of hostile guests, with everything recorded that leaves the host."""
    made = []

    def start(*arguments, **options):
        made.append(attacks.Attack(world, gateway, *arguments, **options))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def http(world):
    server = servers.HttpServer(world.world)
    yield server
    server.stop()
