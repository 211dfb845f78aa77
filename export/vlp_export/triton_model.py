"""The two model.py files of a Triton repository. Each only opens the way to our code, which does the work."""

from __future__ import annotations

from vlp_spec.triton_names import SITE_VARIABLE

_TEXT = '''"""{text} Written by `vlpserve triton-repository`; do not edit."""

import os
import site
import sys

if folders := os.environ.get("{variable}"):
    known = len(sys.path)
    for folder in folders.split(os.pathsep):
        site.addsitedir(folder)
    sys.path[:] = sys.path[known:] + sys.path[:known]

import triton_python_backend_utils as backend
from vlp_server.triton.{module} import {name}


class TritonPythonModel({name}):
    def __init__(self):
        super().__init__(backend)
'''

GRAPH_MODEL = _TEXT.format(
    text="A graph, run by onnxruntime.", variable=SITE_VARIABLE, module="graph_model", name="GraphModel"
)
TASK_MODEL = _TEXT.format(
    text="A task: pictures and words in, answers out.", variable=SITE_VARIABLE, module="task_model", name="TaskModel"
)
