"""Deploy: wait until the server answers with the champion's version."""

from __future__ import annotations

import time

import httpx
from mlratchet.infra.serving.client import reason_of
from mlratchet.models.errors import InfrastructureError
from mlratchet.tasks.showing.prefect_page import show_link
from mlratchet.tasks.step import step
from mlratchet.tasks.wiring import Run


@step("Deploy the champion", retries=1)
def deploy(run: Run, version: int, timeout_s: float = 90.0) -> str:
    """Ask for a server of this pipeline and wait for the version. Returns its URL."""
    servers, name = run.adapters.servers, run.spec.name
    servers.request(name, run.spec.serving)
    deadline = time.monotonic() + timeout_s
    answer = "no server yet"
    with httpx.Client(timeout=5) as client:  # one: to make one takes 25 ms of CPU
        while time.monotonic() < deadline:
            url = servers.url(name)
            if url is not None:
                served, answer = ask(client, url)
                if served == str(version):
                    show_link("model-server", url, f"{name} version {version}")
                    return url
            time.sleep(0.2)
    raise InfrastructureError(
        f"version {version} of {name} was not served within {timeout_s:.0f} s ({answer}); "
        f"the promotion stands; see `ratchet logs serve-{name}`"
    )


def ask(client: httpx.Client, url: str) -> tuple[str | None, str]:
    """The version that is served and answers, and all of it in words."""
    try:
        reply = client.get(f"{url}/ready")
    except httpx.HTTPError as exc:
        return None, f"{url}: {exc}"
    served = reply.headers.get("x-model-version")
    words = f"{url} answers {reply.status_code} with version {served}"
    words += f": {reason}" if (reason := reason_of(reply)) else ""
    return served if reply.status_code == 200 else None, words
