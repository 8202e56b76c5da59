"""How much room the agent takes in a guest."""

import os
import pathlib
import subprocess

import pytest

from harness import agent as agents

# Where the agent is run by an emulator, and where it was built for another processor or not for release.
PROGRAM = os.environ.get("SLUICE_PROGRAM") or agents.AGENT
STRIP = os.environ.get("SLUICE_STRIP") or "strip"
BUILD = os.environ.get("SLUICE_BUILD_TYPE") or "Release"

MOST = 2_000_000


@pytest.mark.skipif(agents.SANITIZED, reason="a sanitizer adds to every access")
@pytest.mark.skipif(not BUILD.startswith("Rel"), reason="a build that is not for release is larger")
def test_without_symbols_it_has_less_than_two_million_bytes(tmp_path):
    stripped = pathlib.Path(tmp_path) / "agent"
    subprocess.run([STRIP, "-o", stripped, PROGRAM], check=True, timeout=60)
    assert stripped.stat().st_size < MOST
