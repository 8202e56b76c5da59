"""What an operator asks, sees and changes with hostctl while a real VM runs. See README.md."""

import contextlib
import re

import pytest

from lab import lab as lab_module
from lab import vm as qemu
from lab.world import ALLOWED_NAME, BLOCKED_NAME, OTHER4, WEB4

CONFIG = f"""[policy]
rules = [
  "allow@{ALLOWED_NAME}:tcp:80",
  "deny@{OTHER4}",
]
"""

pytestmark = pytest.mark.skipif(lab_module.why_not() is not None,
                                reason=f"VM tests skipped: {lab_module.why_not()}")


@pytest.fixture
def online(lab, request):
    """A hostd with CONFIG, and a VM of its that is online."""
    name = request.node.name.removeprefix("test_")[:20]
    config = lab.directory / "vm.toml"
    config.write_text(CONFIG, encoding="utf-8")
    config.chmod(0o644)
    nic = lab.directory / f"{name}.nic"
    hostd = lab.hostd("--qemu", nic, "--config", config, name=f"hostd-{name}")
    vm = lab.vm(qemu.stream_nic(nic), name)
    with contextlib.closing(hostd), contextlib.closing(vm):
        vm.wait_online()
        yield hostd, vm


def fetch(vm, host):
    return vm.run(f"wget -q -O - http://{host}/")


def test_a_denied_connection_of_the_vm_is_explained_with_rule_line_and_binding(online):
    hostd, vm = online
    assert fetch(vm, ALLOWED_NAME).exit_code == 0
    with hostd.following_events() as events:
        assert fetch(vm, OTHER4).exit_code != 0
        line = events.wait_for_log_line([OTHER4])
    assert "deny" in line and f"deny@{OTHER4}" in line and "vm.toml" in line and "4" in line
    denied = hostd.ctl("policy", "check", "tcp", f"{OTHER4}:80")
    assert denied.returncode == 1
    assert f"deny@{OTHER4}" in denied.stdout and "vm.toml:4" in denied.stdout
    allowed = hostd.ctl("policy", "check", "tcp", f"{ALLOWED_NAME}:80")
    assert allowed.returncode == 0
    assert "vm.toml:3" in allowed.stdout and WEB4 in allowed.stdout


def test_what_a_vm_does_is_learned_and_the_rules_that_come_of_it_allow_that_and_no_more(online):
    hostd, vm = online
    assert hostd.ctl("policy", "set", "--profile", "public").returncode == 0
    assert hostd.ctl("policy", "learn", "start").returncode == 0
    assert fetch(vm, ALLOWED_NAME).exit_code == 0
    learned = hostd.ctl("policy", "learn", "stop")
    assert learned.returncode == 0
    rules = re.findall(r'"(allow@[^"]+)"', learned.stdout)
    assert rules == [f"allow@{ALLOWED_NAME}:tcp:80"]

    assert hostd.ctl("policy", "set", *rules).returncode == 0
    assert fetch(vm, ALLOWED_NAME).exit_code == 0
    assert "bad address" in fetch(vm, BLOCKED_NAME).output
    assert "refused" in fetch(vm, OTHER4).output


def test_what_is_refused_is_told_while_it_happens_and_what_is_open_is_listed(online):
    hostd, vm = online
    with hostd.following_events() as events:
        fetch(vm, BLOCKED_NAME)
        line = events.wait_for_log_line([BLOCKED_NAME])
        assert "dns" in line and "no rule lets this name be resolved" in line
    vm.output_of(f"(wget -q -O - http://{ALLOWED_NAME}/bytes/{1 << 30} | sleep 20) & "
                 f"until [ $(netstat -tn | grep -c '{WEB4}:80 .*ESTAB') = 1 ]; "
                 "do usleep 10000; done")
    listed = hostd.ctl("flows", "--to", ALLOWED_NAME)
    assert f"{WEB4}:80" in listed.stdout and ALLOWED_NAME in listed.stdout
