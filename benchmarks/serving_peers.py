"""How other model servers are asked in `serving.py`: each as its own documentation says, run by a Python of its own.

The same MLP 64-512-512-10, one process that computes, one thread, micro-batches of up to 64 rows where the server has
them. litserve: `LitAPI` with `batch` and `unbatch`, no wait for a batch. bentoml: a batchable API. mlserver: a custom
runtime without parallel workers, adaptive batching. ray: a deployment with `serve.batch`. mlflow: `mlflow models
serve` on a model of its pytorch flavour; it has no batches.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

NAME, MOST_ROWS = "benchmark", 64
PATHS = {
    "litserve": f"/{NAME}/predict", "bentoml": f"/{NAME}/predict", "mlserver": f"/v2/models/{NAME}/infer",
    "ray": f"/{NAME}/predict", "mlflow": "/invocations",
}  # fmt: skip


def body(side: str, row: list[float]) -> bytes:
    """A request of one row, in the server's own form."""
    if side == "mlserver":
        one = {"name": "row", "shape": [1, len(row)], "datatype": "FP32", "data": row}
        return json.dumps({"inputs": [one]}).encode()
    if side == "mlflow":
        return json.dumps({"inputs": [row]}).encode()
    return json.dumps({"instances": [row]}).encode()


def model() -> nn.Module:
    """64-512-512-10, as `serving.py` makes it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers = nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    return nn.Sequential(*layers).eval()


def probabilities(made: nn.Module, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(n, 64) to (n, 10)."""
    with torch.inference_mode():
        return np.asarray(torch.softmax(made(torch.from_numpy(rows)), 1))


if importlib.util.find_spec("litserve"):
    import litserve as ls

    class Api(ls.LitAPI):
        """What its workers are given."""

        def setup(self, device: str) -> None:  # noqa: ARG002
            self.made = model()

        def decode_request(self, request):
            return np.asarray(request["instances"], np.float32)

        def batch(self, inputs: list[Any]) -> Any:
            return np.concatenate(inputs)

        def predict(self, x: Any) -> Any:
            return probabilities(self.made, x)

        def unbatch(self, output: Any) -> Any:
            return list(output[:, None])

        def encode_response(self, output: Any) -> dict[str, Any]:
            return {"predictions": output.tolist()}


def litserve(port: int) -> None:
    api = Api(max_batch_size=MOST_ROWS, batch_timeout=0.0, api_path=PATHS["litserve"])
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=port, log_level="warning", access_log=False, generate_client_file=False)


def bentoml(port: int) -> None:
    command = [sys.executable, "-m", "bentoml", "serve", f"{Path(__file__).stem}:Service"]
    place = ["--working-dir", str(Path(__file__).parent), "--host", "127.0.0.1", "--port", str(port)]
    os.execv(sys.executable, [*command, *place, "--api-workers", "1"])


if importlib.util.find_spec("bentoml"):
    import bentoml as bento

    @bento.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
    class Service:
        """What `bentoml serve` finds."""

        def __init__(self) -> None:
            self.made = model()

        @bento.api(batchable=True, max_batch_size=MOST_ROWS, route=PATHS["bentoml"])
        def predict(self, instances: np.ndarray) -> np.ndarray:
            return probabilities(self.made, np.asarray(instances, np.float32))


if importlib.util.find_spec("mlserver"):
    from mlserver import MLModel
    from mlserver.codecs import NumpyCodec
    from mlserver.types import InferenceRequest, InferenceResponse

    class Runtime(MLModel):
        """What `mlserver start` finds by the name in its settings."""

        async def load(self) -> bool:
            self.made = model()
            return True

        async def predict(self, payload: InferenceRequest) -> InferenceResponse:
            rows = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32, copy=False)
            found = NumpyCodec.encode_output("probabilities", probabilities(self.made, rows))
            return InferenceResponse(model_name=self.name, outputs=[found])


def mlserver(port: int) -> None:
    folder = Path(tempfile.mkdtemp())
    ports = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2, "parallel_workers": 0}
    settings = ports | {"host": "127.0.0.1", "debug": False, "use_structured_logging": False}
    (folder / "settings.json").write_text(json.dumps(settings))
    batches = {"max_batch_size": MOST_ROWS, "max_batch_time": 0.002}
    named = {"name": NAME, "implementation": f"{Path(__file__).stem}.Runtime"} | batches
    (folder / "model-settings.json").write_text(json.dumps(named))
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    os.execv(sys.executable, [sys.executable, "-m", "mlserver.cli.main", "start", str(folder)])


def ray(port: int) -> None:
    import ray as rays
    from ray import serve
    from starlette.requests import Request

    @serve.deployment(num_replicas=1, max_ongoing_requests=256)
    class Deployment:
        def __init__(self) -> None:
            self.made = model()

        @serve.batch(max_batch_size=MOST_ROWS, batch_wait_timeout_s=0.0)
        async def rows(self, asked: list[Any]) -> list[Any]:
            return list(probabilities(self.made, np.concatenate(asked)))

        async def __call__(self, request: Request) -> dict[str, Any]:
            one = np.asarray((await request.json())["instances"], np.float32)
            return {"predictions": [(await self.rows(one)).tolist()]}

    rays.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(Deployment.bind(), route_prefix=PATHS["ray"], blocking=False)
    while True:
        time.sleep(60)


def mlflow(port: int) -> None:
    from mlflow import pytorch
    from mlflow.models import infer_signature

    folder = Path(tempfile.mkdtemp()) / "model"
    made, row = model(), np.zeros((1, 64), np.float32)
    signature = infer_signature(row, probabilities(made, row))  # makes it take numbers of JSON as float32
    pytorch.save_model(made, folder, serialization_format="pickle", pip_requirements=[], signature=signature)
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder), "--env-manager", "local"]
    found = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # of uvicorn, which it starts by name
    place = ["-h", "127.0.0.1", "-p", str(port), "--workers", "1"]
    raise SystemExit(subprocess.call([*command, *place], env=os.environ | {"PATH": found}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", choices=PATHS, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "BENTOML_DO_NOT_TRACK": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    sides = {"litserve": litserve, "bentoml": bentoml, "mlserver": mlserver, "ray": ray, "mlflow": mlflow}
    sides[options.side](options.port)


if __name__ == "__main__":
    main()
