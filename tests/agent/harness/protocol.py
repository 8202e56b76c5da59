"""The agent's messages, as Google's compiler makes them of the published .proto files.

So each test is also one of our own encoder and decoder against another's.
"""

import pathlib
import subprocess
import sys
import tempfile

PROTO = pathlib.Path(__file__).resolve().parents[3] / "agent/proto"

_generated = tempfile.TemporaryDirectory(prefix="sluice-proto-")
subprocess.run(["protoc", f"--proto_path={PROTO}", f"--python_out={_generated.name}",
                *sorted(str(path) for path in PROTO.rglob("*.proto"))], check=True, timeout=60)
sys.path.insert(0, _generated.name)

# pylint: disable=wrong-import-position,import-error,unused-import
import ttrpc_pb2 as envelope  # noqa: E402
from sluice.agent.v1 import agent_pb2 as agent  # noqa: E402
from sluice.agent.v1 import error_pb2 as error  # noqa: E402
from sluice.agent.v1 import network_pb2 as network  # noqa: E402
from sluice.agent.v1 import file_pb2 as file  # noqa: E402
from sluice.agent.v1 import image_pb2 as image  # noqa: E402
from sluice.agent.v1 import process_pb2 as process  # noqa: E402
from sluice.agent.v1 import container_pb2 as container  # noqa: E402
from sluice.agent.v1 import services_pb2 as services  # noqa: E402
