"""How other loaders are asked in `loader.py`: each as its own documentation says, run by their virtual environment.

webdataset: tar shards over presigned URLs, a shuffle buffer of 4,096 rows. s3torchconnector: whole shards of 8 MB by
`S3IterableDataset`, cut into rows by hand, as it knows objects alone. litdata: chunks of 8 MB, shuffled, with its local
cache cold and warm; its client is told that a server may have no certificate. ray: the same tar shards by
`read_webdataset`, a shuffle buffer of 4,096 rows, on a cluster of one machine that is started before the clock.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import shutil
import struct
import tarfile
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import torch

ROWS = 8_000_000  # bytes of a shard


def client() -> Any:
    return boto3.client("s3")


def rows_of(folder: Path, about: dict[str, Any]) -> tuple[Any, Any]:
    """From our shards, to be written as each wants them."""
    xs, ys = [], []
    for ref in json.loads((folder / "manifest.json").read_text())["splits"]["train"]:
        data = client().get_object(Bucket=about["bucket"], Key=f"shards/{ref['sha256']}.safetensors")["Body"].read()
        x, y = arrays_of(data)
        xs.append(x)
        ys.append(y)
    return np.concatenate(xs), np.concatenate(ys)


def arrays_of(data: bytes) -> tuple[Any, Any]:
    """Of a safetensors file."""
    size = struct.unpack("<Q", data[:8])[0]
    head = json.loads(data[8 : 8 + size])
    kinds = {"F32": "<f4", "U8": "|u1", "I64": "<i8"}

    def one(name: str) -> Any:
        at, end = head[name]["data_offsets"]
        return np.frombuffer(data[8 + size + at : 8 + size + end], kinds[head[name]["dtype"]]).reshape(
            head[name]["shape"]
        )

    return one("x"), one("y")


def prepare(folder: Path, about: dict[str, Any]) -> None:
    x, y = rows_of(folder, about)
    step = max(1, ROWS * len(x) // x.nbytes)
    for number, at in enumerate(range(0, len(x), step)):
        sink = io.BytesIO()
        with tarfile.open(fileobj=sink, mode="w") as tar:
            for row in range(at, min(at + step, len(x))):
                for ending, data in (("x", x[row].tobytes()), ("y", str(int(y[row])).encode())):
                    info = tarfile.TarInfo(f"{row:09d}.{ending}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
        client().put_object(Bucket=about["bucket"], Key=f"tar/{about['kind']}/{number:05d}.tar", Body=sink.getvalue())
    try:
        from litdata.streaming.writer import BinaryWriter
    except ImportError:
        return
    chunks = folder / "chunks"
    writer = BinaryWriter(str(chunks), chunk_bytes=ROWS)
    for row in range(len(x)):
        writer[row] = {"x": x[row], "y": int(y[row])}
    writer.done()
    writer.merge()
    for file in chunks.iterdir():
        client().upload_file(str(file), about["bucket"], f"litdata/{about['kind']}/{file.name}")
    shutil.rmtree(chunks)


def webdataset(about: dict[str, Any], _folder: Path, _side: str) -> Iterator[int]:
    import webdataset as wds

    listed = client().list_objects_v2(Bucket=about["bucket"], Prefix=f"tar/{about['kind']}/")["Contents"]
    urls = [
        "pipe:curl -s -f '"
        + client().generate_presigned_url("get_object", Params={"Bucket": about["bucket"], "Key": one["Key"]})
        + "'"
        for one in listed
    ]

    def decoded(sample: dict[str, Any]) -> tuple[Any, int]:
        return np.frombuffer(sample["x"], about["dtype"]).reshape(about["shape"]), int(sample["y"])

    rows = wds.WebDataset(urls, shardshuffle=len(urls)).shuffle(4096).map(decoded).batched(about["batch"])
    for x, _ in rows:
        yield len(torch.as_tensor(np.asarray(x)))


def s3torchconnector(about: dict[str, Any], folder: Path, _side: str) -> Iterator[int]:
    from s3torchconnector import S3ClientConfig, S3IterableDataset

    keys = [
        f"s3://{about['bucket']}/shards/{ref['sha256']}.safetensors"
        for ref in json.loads((folder / "manifest.json").read_text())["splits"]["train"]
    ]
    rows = S3IterableDataset.from_objects(
        keys, region=os.environ["AWS_DEFAULT_REGION"], endpoint=os.environ["AWS_ENDPOINT_URL_S3"],
        s3client_config=S3ClientConfig(force_path_style=True),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for reader in rows:
        x, y = arrays_of(reader.read())
        order = rng.permutation(len(x))
        for at in range(0, len(x), about["batch"]):
            places = order[at : at + about["batch"]]
            _ = torch.from_numpy(y[places])
            yield len(torch.from_numpy(x[places]))


def litdata(about: dict[str, Any], folder: Path, side: str) -> Iterator[int]:
    from litdata import StreamingDataLoader, StreamingDataset
    from litdata.streaming import downloader

    downloader._OBSTORE_CLIENT_OPTIONS = {**downloader._OBSTORE_CLIENT_OPTIONS, "allow_http": True}  # no option says so
    rows = StreamingDataset(
        f"s3://{about['bucket']}/litdata/{about['kind']}", shuffle=True, cache_dir=str(folder / "litdata" / "cache"),
        storage_options={"endpoint_url": os.environ["AWS_ENDPOINT_URL_S3"]}, max_cache_size="10GB",
    )  # fmt: skip
    if side.endswith("warm"):
        assert (folder / "litdata" / "cache").is_dir(), "the cold side fills it"
    for batch in StreamingDataLoader(rows, batch_size=about["batch"], num_workers=0):
        yield len(batch["x"])


def ray_data(about: dict[str, Any], _folder: Path, _side: str) -> Iterator[int]:
    import ray
    from pyarrow.fs import S3FileSystem

    endpoint = os.environ["AWS_ENDPOINT_URL_S3"]
    scheme, _, place = endpoint.partition("://")
    files = S3FileSystem(
        access_key=os.environ["AWS_ACCESS_KEY_ID"], secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        region=os.environ["AWS_DEFAULT_REGION"], endpoint_override=place, scheme=scheme,
    )  # fmt: skip
    rows = ray.data.read_webdataset(f"{about['bucket']}/tar/{about['kind']}/", filesystem=files, decoder=False)

    def decoded(batch: dict[str, Any]) -> dict[str, Any]:
        x = np.stack([np.frombuffer(one, about["dtype"]).reshape(about["shape"]) for one in batch["x"]])
        return {"x": x, "y": np.array([int(one) for one in batch["y"]])}

    taken = rows.map_batches(decoded).iter_batches(batch_size=about["batch"], local_shuffle_buffer_size=4096)
    for batch in taken:
        yield len(torch.as_tensor(np.ascontiguousarray(batch["x"])))


def ready(side: str) -> None:
    """What a program has imported and started long before it asks for a batch."""
    import_module({"ray": "ray.data"}.get(side, side.split()[0]))
    if side == "ray":
        import ray

        ray.init(num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        ray.data.DataContext.get_current().enable_progress_bars = False


SIDES = {
    "webdataset": webdataset,
    "ray": ray_data,
    "s3torchconnector": s3torchconnector,
    "litdata cold": litdata,
    "litdata warm": litdata,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--side")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    about = json.loads((options.folder / "about.json").read_text())
    if options.side == "prepare":
        prepare(options.folder, about)
        return
    torch.set_num_threads(1)
    ready(options.side)
    before, began, samples, first_s = cpu_s(), time.perf_counter(), 0, 0.0
    for count in SIDES[options.side](about, options.folder, options.side):
        first_s = first_s or time.perf_counter() - began
        samples += count
    seconds = time.perf_counter() - began
    print(json.dumps({"samples": samples, "seconds": seconds, "first_s": first_s, "cpu_s": cpu_s() - before}))


def cpu_s() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in both)


if __name__ == "__main__":
    main()
