"""The Python code of the protocol: vlp_proto/vlp/v1/*.proto -> *_pb2.py, *_pb2.pyi, *_pb2_grpc.py beside them.

`make proto` runs it. Not part of the distribution.
"""

from __future__ import annotations

import re
import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

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
    sources = sorted(ROOT.joinpath(PACKAGE).glob("*.proto"))
    target.mkdir(parents=True, exist_ok=True)
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={ROOT}",
            f"--proto_path={files('grpc_tools') / '_proto'}",
            f"--python_out={target}",
            f"--pyi_out={target}",
            f"--grpc_python_out={target}",
            *map(str, sources),
        ]
    )
    if status:
        raise RuntimeError(f"protoc ended with status {status}")
    with_services = {source.stem for source in sources if re.search(r"^service ", source.read_text(), re.MULTILINE)}
    written = []
    for path in sorted(target.joinpath(PACKAGE).glob("*_pb2*")):
        if path.name.endswith("_pb2_grpc.py") and path.name.removesuffix("_pb2_grpc.py") not in with_services:
            path.unlink()  # an empty one
            continue
        path.write_text(_IMPORT.sub("from vlp_proto.vlp.v1 import", path.read_text()))
        written.append(path)
    return written


if __name__ == "__main__":
    sys.stdout.write("".join(f"{path.name}\n" for path in generate(ROOT)))
