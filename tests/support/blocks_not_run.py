"""The blocks of the documentation that no test of the pages runs, each with its reason: page, first line, why.

A new block that can be run does not belong here. Where another test does what the block says, its path is in the
reason.
"""

from __future__ import annotations

_NO_COMMAND = "no command: "
_NOT_HERE = "needs what is not at hand: "
_ELSEWHERE = "done by "

NOT_RUN: dict[str, dict[str, str]] = {
    "README.md": {
        "make test": _ELSEWHERE + "whoever runs this test",
        "make triton": _ELSEWHERE + "tests/e2e/test_triton_gateway_process.py, command by command",
        "vlpserve serve dandelin/vilt-b32-finetuned-vqa": _NOT_HERE + "published checkpoints; on made ones "
        "tests/e2e/test_export_on_first_use.py",
        "vlpserve scenes data/scenes": _NOT_HERE + "long training; a short one is tests/e2e/test_training_commands.py",
        "models/  records": _NO_COMMAND + "the folders",
    },
    "docs/architecture.md": {"vlp_cli -> everything, lazily": _NO_COMMAND + "the arrows, which import-linter holds"},
    "docs/captions.md": {
        "vlpserve serve Salesforce/blip-image-captioning-base": _NOT_HERE + "published checkpoints; on made ones "
        "tests/contract/test_transformers_blip.py",
        "vlpserve evaluate scenes-blip": _NOT_HERE + "the data, minutes to draw; on small data "
        "tests/unit/vlp_cli/test_evaluate_captions.py",
    },
    "docs/collections.md": {
        "vlpserve collections backup copy/": _ELSEWHERE + "tests/e2e/test_index_process.py, with an empty place to "
        "restore into",
    },
    "docs/containers.md": {
        "docker compose": _ELSEWHERE + "make check-system, which needs podman",
        "helm install": _NOT_HERE + "a cluster; the chart is rendered by tests/unit/docker/test_chart.py",
    },
    "docs/export.md": {
        "vlpserve export CHECKPOINT --repository": _NO_COMMAND + "the form of one; "
        "tests/e2e/test_export_on_first_use.py has some",
        "pip install 'vlpserve[gpu,export,tensorrt]'": _NOT_HERE + "a GPU and TensorRT",
    },
    "docs/grpc.md": {"grpcurl -plaintext": _NOT_HERE + "grpcurl; reflection is asked by tests/contract/grpc"},
    "docs/models.md": {
        "vlpserve export my-clip/": _ELSEWHERE
        + "tests/e2e/test_model_management_process.py, under load, with versions of its own",
    },
    "docs/oip.md": {"perf_analyzer -i http": _NOT_HERE + "perf_analyzer, which comes in one old wheel"},
    "docs/regions.md": {
        "vlpserve export uniter-ve.pt": _NOT_HERE + "published checkpoints; on made ones "
        "tests/contract/test_region_models.py",
        "vlpserve evaluate scenes-uniter-entailment": _NOT_HERE + "the data, minutes to draw; on small data "
        "tests/unit/vlp_cli/test_evaluate_judging.py",
    },
    "docs/scaling.md": {
        "gateway replicas = N": _NO_COMMAND + "a formula",
        "fp32: t = 2 / 10.15": _NO_COMMAND + "a sum",
        "vlpserve loadtest --url": _NOT_HERE + "minutes; shorter ones are in clients/loadtest/README.md",
    },
    "docs/triton.md": {
        "make triton": _ELSEWHERE + "tests/e2e/test_triton_gateway_process.py, command by command",
        "vlpserve triton-repository build/triton": _ELSEWHERE + "tests/e2e/test_triton_gateway_process.py",
        "import numpy as np, tritonclient.grpc as triton": _NOT_HERE + "tritonserver's port 8001; tasks on a real one "
        "are asked by tests/contract/on_triton",
        "umask 077": _ELSEWHERE + "tests/e2e/test_triton_gateway_process.py, with a secret of its own",
    },
}
