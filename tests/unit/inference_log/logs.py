"""Signed logs for tests: any rows, written as the log writer writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from mlratchet.infra.keys.files import MemoryKeys, public_half
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.identity.signing import Signer, TrustedKeys
from mlratchet.models.inference_log.chain import FileFacts, WriterChain
from mlratchet.models.inference_log.columns import LABELS, OF_EVERY_ROW, log_schema
from mlratchet.models.inference_log.config import LogConfig
from mlratchet.models.inference_log.file import Holds, LogFile
from mlratchet.models.inference_log.filing import files_of
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.schema.fields import Schema

DEFAULTS: Mapping[str, Any] = {
    "row": 0, "latency_ms": 1.0, "version": 1, "generation": 1, "variant": "champion", "status": 200, "replayed": False,
}  # fmt: skip


class Log:
    """The log of one pipeline in a store, with a pipeline's key and a log writer's that are both trusted."""

    def __init__(
        self, pipeline: str = "plant", *, schema: Schema | None = None, config: LogConfig | None = None,
        store: ObjectStore | None = None, writer: str = "w1", pipeline_key: Signer | None = None,
    ) -> None:  # fmt: skip
        """`pipeline_key`: of an installation whose keys a test has already."""
        self.pipeline, self.writer, self.store = pipeline, writer, store if store is not None else MemoryStore()
        self.pipeline_signer, self.log_signer = pipeline_key or Signer.generate(), Signer.generate()
        trusted = TrustedKeys(
            [public_half(self.pipeline_signer, "pipeline", "tests"), public_half(self.log_signer, "log", "tests")]
        )
        self.keys = MemoryKeys(self.pipeline_signer, trusted)
        self.writer_keys = MemoryKeys(self.log_signer, trusted)
        self.columns = log_schema(schema, config or LogConfig())
        self._chains: dict[Holds, WriterChain] = {}

    def chain(self, holds: Holds = "answers") -> WriterChain:
        """Of the writer."""
        if holds not in self._chains:
            self._chains[holds] = WriterChain(
                self.store, self.writer_keys, pipeline=self.pipeline, writer=self.writer, holds=holds
            )
        return self._chains[holds]

    def write(self, rows: Sequence[Mapping[str, Any]], *, settled_s: float | None = None, **told: Any) -> list[LogFile]:
        """Rows as one flush: `received_s` and whatever differs from `DEFAULTS`; a field as `field.NAME`. A row without
        `request_id` gets one from its moment. `told`: `dropped`, `unclosed` of the last record."""
        whole = [DEFAULTS | {"request_id": f"r{one['received_s']:.6f}"} | dict(one) for one in rows]
        settled = settled_s if settled_s is not None else max((one["received_s"] for one in whole), default=0.0)
        return self._publish(pa.Table.from_pylist(whole, schema=self.columns), "answers", settled, **told)

    def feedback(self, labels: Sequence[tuple[str, int, str, float]], *, token: str = "clinic") -> list[LogFile]:
        """Labels as `/feedback` brings them: request id, row, label, when."""
        columns = list(zip(*labels, strict=True)) or [()] * 4
        table = pa.table([*columns, [token] * len(labels)], schema=LABELS)
        return self._publish(table, "feedback", max((one[3] for one in labels), default=0.0))

    def _publish(self, table: pa.Table, holds: Holds, settled_s: float, **told: Any) -> list[LogFile]:
        facts = FileFacts(version=0, rows=0, first_s=settled_s, last_s=settled_s, settled_s=settled_s, **told)
        return [self.chain(holds).append(data, said) for data, said in files_of(table, holds, told=facts)]


BASE_COLUMNS = tuple(column.name for column in OF_EVERY_ROW)
