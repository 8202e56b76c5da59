"""The C helpers: built by CMake (SLUICE_NET_TOOLS says where), else here, once, with cc."""
import functools
import os
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCES = {"tapbridge": ["../../bench/tapbridge.c", "../../bench/tap.c"], "netload": ["../tools/netload.c"]}


@functools.cache
def tool(name):
    ready = os.path.join(os.environ.get("SLUICE_NET_TOOLS", ""), name)
    if os.path.isfile(ready):
        return ready
    sources = [os.path.normpath(os.path.join(HERE, source)) for source in SOURCES[name]]
    folder = os.path.join(tempfile.gettempdir(), f"sluice-net-tools-{os.getuid()}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    binary = os.path.join(folder, name)
    if not os.path.exists(binary) or os.path.getmtime(binary) < max(map(os.path.getmtime, sources)):
        fresh = f"{binary}.{os.getpid()}"
        subprocess.run(["cc", "-O2", "-pthread", "-o", fresh, *sources], check=True)
        os.rename(fresh, binary)
    return binary
