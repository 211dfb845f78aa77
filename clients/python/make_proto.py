"""The Python code of the protocol: vlp_proto/vlp/v1/*.proto -> *_pb2.py, *_pb2.pyi, *_pb2_grpc.py beside them.

`make proto` runs it. Not part of the distribution.
"""

from __future__ import annotations

import re
import sys
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc
from proto_lock import changes, facts_of, read_lock, write_lock

ROOT = Path(__file__).resolve().parent / "vlp_proto"
PACKAGE = "vlp/v1"
# protoc takes its own folder for Python's: what it calls vlp.v1 is vlp_proto.vlp.v1 here.
_IMPORT = re.compile(r"^from vlp\.v1 import", re.MULTILINE)


def generate(target: Path) -> list[Path]:
    """Write the code of all .proto files.

    Args:
        target: the folder in the place of vlp_proto.

    Returns:
        what was written, by name.

    Raises:
        RuntimeError: protoc refused them; it has told why.
    """
    target.mkdir(parents=True, exist_ok=True)
    _run(f"--python_out={target}", f"--pyi_out={target}", f"--grpc_python_out={target}")
    with_services = {source.stem for source in _sources() if re.search(r"^service ", source.read_text(), re.MULTILINE)}
    written = []
    for path in sorted(target.joinpath(PACKAGE).glob("*_pb2*")):
        if path.name.endswith("_pb2_grpc.py") and path.name.removesuffix("_pb2_grpc.py") not in with_services:
            path.unlink()  # an empty one
            continue
        path.write_text(_IMPORT.sub("from vlp_proto.vlp.v1 import", path.read_text()))
        written.append(path)
    return written


def described() -> list[FileDescriptorProto]:
    """The .proto files as protoc reads them, without those of Google.

    Raises:
        RuntimeError: protoc refused them; it has told why.
    """
    with TemporaryDirectory() as folder:
        target = Path(folder) / "described"
        _run(f"--descriptor_set_out={target}")
        return list(FileDescriptorSet.FromString(target.read_bytes()).file)


def _sources() -> list[Path]:
    return sorted(ROOT.joinpath(PACKAGE).glob("*.proto"))


def _run(*outputs: str) -> None:
    paths = [f"--proto_path={ROOT}", f"--proto_path={files('grpc_tools') / '_proto'}"]
    status = protoc.main(["protoc", *paths, *outputs, *map(str, _sources())])
    if status:
        raise RuntimeError(f"protoc ended with status {status}")


def main() -> None:
    """Write the code, and lock the names and numbers that are new."""
    facts, locked = facts_of(described()), read_lock()
    if broken := changes(locked, facts):
        sys.exit("this would break those who speak the protocol as it was:\n" + "\n".join(broken))
    write_lock(locked | facts)
    sys.stdout.write("".join(f"{path.name}\n" for path in generate(ROOT)))


if __name__ == "__main__":
    main()
