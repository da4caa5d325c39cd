"""Configuration of the deployed model."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.config import StrictModel
from mlratchet.models.inference_log.config import LabelsConfig, LogConfig
from mlratchet.models.promotion.canary.config import CanaryConfig
from pydantic import Field, field_validator, model_validator

MOST_BYTES = "x-max-bytes"  # in the description of a server: of a request's body


class ServingConfig(StrictModel):
    """How the champion is served."""

    process: Literal["shared", "own"] = "shared"
    """`shared`: one server process for all pipelines that say so; `own`: one for this pipeline alone."""
    tls_port: int | None = Field(default=None, ge=1, le=65535, exclude_if=lambda value: value is None)
    """Where a process of its own answers TLS, by the certificate of all servers; null: it answers this machine alone
    once there is one."""
    max_batch_rows: int = Field(default=64, ge=1, le=65536)
    """Rows answered by one forward."""
    max_request_bytes: int = Field(default=8_000_000, ge=1024)
    max_waiting_requests: int = Field(default=256, ge=1, le=65536)
    """Beyond so many at once, and beyond so many bytes, the answer is 503 with Retry-After."""
    max_waiting_bytes: int = Field(default=256_000_000, ge=1024)
    read_seconds: float = Field(default=30.0, gt=0, le=3600)
    """A request that has not arrived whole by then is ended; of its header, a third of it. What the inference log holds
    of a moment is complete 5 s later."""
    threads: int = Field(default=1, ge=1, le=256)
    """Intra-op threads of the forward."""
    compile: Literal["none", "aot"] = Field(default="none", exclude_if=lambda value: value == "none")
    """`aot`: each server compiles the program for its own machine (AOTInductor; it needs a C++ compiler) while the
    program serves, and goes over to it once both answer alike. Takes effect with the next version, and at a start."""
    defaults: dict[str, float] = Field(default_factory=dict)
    """Column of a table -> its value in a request that lacks it, for clients that do not know a new column yet."""
    ranges: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """Column of a table -> lowest and highest value; a request outside is refused."""
    form: tuple[str, ...] = Field(default=(), strict=False, exclude_if=lambda value: not value)
    """Fields in the order in which the page to try the model asks for them; without it that of the schema. What is not
    named comes last."""
    poll_seconds: float = Field(default=1.0, gt=0, le=3600)
    """How often it is asked whether there is a new champion; of pipelines that share a process, the shortest holds."""
    canary: CanaryConfig | None = Field(default=None, exclude_if=lambda value: value is None)
    """What a new version has to stand on real requests before the champion gate; null: nothing."""
    log: LogConfig = Field(default=LogConfig(), exclude_if=lambda value: value == LogConfig())
    """What is written down of requests."""
    labels: LabelsConfig | None = Field(default=None, exclude_if=lambda value: value is None)
    """Labels that come later; null: through `/feedback` alone."""

    @model_validator(mode="after")
    def _its_own_port(self) -> ServingConfig:
        if self.tls_port is not None and self.process != "own":
            raise ValueError("tls_port: of a pipeline with `process: own`; others share RATCHET_SERVING_TLS_PORT")
        return self

    @field_validator("ranges")
    @classmethod
    def _ascending(cls, ranges: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for name, (low, high) in ranges.items():
            if not low <= high:
                raise ValueError(f"{name}: got [{low:g}, {high:g}], expected the lowest value first")
        return ranges
