"""Shows the ends of the lab's logs beside a failure: hostd's, the servers' and the VMs'."""

import pytest

TAIL_LINES = 20


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
