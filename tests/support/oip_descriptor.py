"""Writes server/vlp_server/oip/grpc_descriptor.py from inference.proto: python tests/support/oip_descriptor.py."""

from __future__ import annotations

import base64
import tempfile
import textwrap
from pathlib import Path

from grpc_tools import protoc

FOLDER = Path(__file__).parents[2] / "server" / "vlp_server" / "oip"
_PROTO = "inference.proto"
_HEAD = '''"""The descriptor of inference.proto, base64. Made by tests/support/oip_descriptor.py; do not edit."""

from __future__ import annotations

DESCRIPTOR = """
'''


def compiled() -> bytes:
    """The FileDescriptorProto of inference.proto, under a name that nobody else takes."""
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "set.bin"
        arguments = ["protoc", f"-I{FOLDER}", f"--descriptor_set_out={target}", str(FOLDER / _PROTO)]
        if protoc.main(arguments) != 0:
            raise SystemExit("protoc refuses inference.proto")
        from google.protobuf.descriptor_pb2 import FileDescriptorSet

        (file,) = FileDescriptorSet.FromString(target.read_bytes()).file
    file.name = f"vlp_server/oip/{_PROTO}"
    return bytes(file.SerializeToString(deterministic=True))


def module_text() -> str:
    """What grpc_descriptor.py holds."""
    lines = textwrap.wrap(base64.b64encode(compiled()).decode(), 100)
    return _HEAD + "\n".join(lines) + '\n"""\n'


if __name__ == "__main__":
    (FOLDER / "grpc_descriptor.py").write_text(module_text())
