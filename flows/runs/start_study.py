"""Start a study in this process: as the deployment would, with somebody watching."""

from __future__ import annotations

import time
from typing import Any

from mlratchet.flows.check_file import check_pipeline
from mlratchet.flows.deployments import deploy_named
from mlratchet.flows.parameters import TuneParameters
from mlratchet.flows.runs.start import report_of
from mlratchet.flows.tune import LISTENER, tune
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.pipeline.changes import changed_pipeline
from mlratchet.models.pipeline.loading import find_pipeline
from mlratchet.models.pipeline.store import publish_order, publish_pipeline
from mlratchet.models.tuning.space import require_tune
from mlratchet.tasks.steps.search import Listener
from mlratchet.tasks.wiring import open_adapters
from pydantic import ValidationError


def tune_here(pipeline: str, asked: dict[str, Any], *, requested_by: str, listener: Listener) -> dict[str, Any]:
    """Run the study of a pipeline, or go on with it; returns its report.

    Raises ``ConfigurationError`` for anything wrong in the file or in `asked`, before anything runs.
    """
    try:
        overrides = tuple(asked.pop("set", ()))
        parameters = TuneParameters(**asked, requested_by=requested_by)
    except ValidationError as exc:
        problems = "; ".join(f"{'.'.join(str(p) for p in e['loc'][:1])}: {e['msg']}" for e in exc.errors())
        raise ConfigurationError(problems) from exc
    adapters = open_adapters()
    spec, _ = check_pipeline(find_pipeline(adapters.settings.pipelines_dir, pipeline), overrides=overrides)
    require_tune(spec)
    changed_pipeline(spec, parameters.changes())
    deploy_named(pipeline)
    order = ""
    if overrides:
        revision = publish_pipeline(adapters.store, spec)
        order = publish_order(adapters.store, pipeline, revision, actor=requested_by, at_s=time.time())
    token = LISTENER.set(listener)
    try:
        state = tune(pipeline, parameters, order, return_state=True)
    finally:
        LISTENER.reset(token)
    goes_on = f"; `ratchet tune {pipeline}` again goes on with it"
    return report_of(adapters, state, pipeline, what="study run", then=goes_on)
