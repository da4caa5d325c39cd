"""What docs/pipeline-file.md says of a workload of one's own is so: the fields of its input, and the example."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from mlratchet.models.sources.record import InputSpec, RawObject, Record, Reject
from mlratchet.models.workloads.guarded import guarded_records

PAGE = Path(__file__).parents[3] / "docs" / "pipeline-file.md"


def section() -> str:
    return PAGE.read_text().split("## A workload of your own\n", 1)[1].split("\n## ", 1)[0]


def test_every_field_of_the_input_is_documented() -> None:
    told = re.findall(r"^\| `(\w+)` \|", section(), re.MULTILINE)
    assert told == [field.name for field in fields(InputSpec)]


def test_the_example_reads_and_computes() -> None:
    code = section().split("```python\n", 1)[1].split("```", 1)[0]
    held: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), held)
    workload = held["Signals"]()
    rows = [{"values": [0.5] * 32, "fault": 1}, {"values": [1.0], "fault": 0}, {"values": [2.0] * 32, "fault": 7}]
    data = json.dumps(rows).encode()
    found = list(
        guarded_records(workload, [RawObject(key="a.json", size_bytes=len(data), sha256="0" * 64)], lambda _: data, {})
    )
    assert [type(one) for one in found] == [Record, Reject, Reject]
    assert [one.code for one in found if isinstance(one, Reject)] == ["length", "bad_target"]
    x = torch.from_numpy(found[0].x)[None] if isinstance(found[0], Record) else None
    assert x is not None
    assert workload.build_model()(x).shape == (1, 2)
