"""A lab for each module; the ends of its logs, hostd's, the servers' and the VMs', beside a failure."""

import pytest

from lab.lab import Lab

TAIL_LINES = 20


@pytest.fixture(scope="module")
def lab():
    with Lab() as made:
        yield made


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    lab = item.funcargs.get("lab") or getattr(item.funcargs.get("guest"), "lab", None)
    if not report.failed or lab is None:
        return
    for path in sorted(lab.directory.glob("*.log")):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        report.sections.append((path.name, "\n".join(lines[-TAIL_LINES:])))
