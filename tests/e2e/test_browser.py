"""Both UIs in headless Chromium, as a person uses them. Screenshots are kept where RATCHET_SCREENSHOTS says."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from mlratchet.models.decisions.decision import load_decision
from mlratchet.models.destination import place_of
from playwright.sync_api import Browser, Error, Locator, Page, expect

from tests.conftest import Stack, wait_for
from tests.e2e.conftest import DeploymentRuns

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.stack,
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium (apt-get install chromium)"),
]
PATIENCE_MS = 120_000


@pytest.fixture(scope="module")
def page(browser: Browser, stack: Stack) -> Page:
    """Let in by one link, to Prefect and MLflow alike."""
    made = browser.new_context(viewport={"width": 1440, "height": 1000}, reduced_motion="reduce").new_page()
    made.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    made.goto(stack.link("prefect"))
    made.wait_for_url(f"{prefect_url(stack)}/**", wait_until="commit")
    expect(made.get_by_text("Deployments").first).to_be_visible()
    return made


def shoot(page: Page, name: str) -> None:
    """Keep a picture for the README."""
    folder = os.environ.get("RATCHET_SCREENSHOTS")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def field(page: Page, label: str) -> Locator:
    """The box below a label of the form."""
    return page.locator("label", has_text=label).locator("xpath=following::*[self::input or self::textarea][1]").first


def prefect_url(stack: Stack) -> str:
    return str(stack.settings.prefect_api_url).removesuffix("/api")


MAKE_A_FLOW = """([url, name]) => fetch(url, {
    method: 'POST', body: JSON.stringify({name}), credentials: 'include', headers: {'content-type': 'application/json'},
}).then(reply => reply.status)"""


def test_a_browser_without_a_link_and_a_page_of_somebody_else_see_nothing(
    stack: Any, page: Page, browser: Browser, tmp_path: Path
) -> None:
    """The pages are served on other ports of this machine, so that the browser has the cookie for them, too. MLflow's
    is one of them; and as the shared page shows MLflow when a test of it ran before, Prefect's is opened here."""
    flows = f"{stack.settings.prefect_api_url}/flows/"
    stranger = browser.new_page()
    for url in (prefect_url(stack), stack.settings.mlflow_tracking_uri):
        reply = stranger.goto(f"{url}/")
        assert reply is not None
        assert reply.status == 401
        expect(stranger.get_by_text("asks for a password")).to_be_visible()
    (tmp_path / "index.html").write_text(f'<img src="{prefect_url(stack)}/ui-settings"><p>somebody else\'s</p>')
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        tab = page.context.new_page()
        for foreign in (f"http://127.0.0.1:{server.server_port}/", f"{stack.settings.mlflow_tracking_uri}/"):
            tab.goto(foreign)
            with pytest.raises(Error, match="Failed to fetch"):
                tab.evaluate(MAKE_A_FLOW, [flows, "made-by-a-foreign-page"])
        server.shutdown()
    tab.goto(f"{prefect_url(stack)}/dashboard")
    assert tab.evaluate(MAKE_A_FLOW, [flows, "made-by-prefects-own-page"]) in (200, 201)
    tab.close()
    stranger.close()
    with stack.prefect() as client:
        names = {flow.name for flow in client.read_flows()}
    assert "made-by-prefects-own-page" in names
    assert "made-by-a-foreign-page" not in names


def test_a_link_leads_a_new_browser_to_the_very_run_in_both(stack: Any, second: Any, browser: Browser) -> None:
    """As `ratchet run` prints it. MLflow shows the training, not its GenAI view, and no panel of its Assistant."""
    run, training = second.report["run_id"], second.report["training"]["mlflow_run"]
    new = browser.new_page()
    new.set_default_timeout(PATIENCE_MS)
    new.goto(stack("open", "prefect", "--run", run, "--print").stdout.strip())
    new.wait_for_url(f"{prefect_url(stack)}/runs/flow-run/{run}**", wait_until="commit")
    expect(new.get_by_text("Train digits").first).to_be_visible()
    new.context.close()
    new = browser.new_page()
    new.goto(stack("open", "mlflow", "digits", "--run", run, "--print").stdout.strip())
    new.wait_for_url(f"**/runs/{training}?workflowType=machine_learning", wait_until="commit")
    expect(new.get_by_text("test_accuracy").first).to_be_visible()
    new.goto(f"{stack.settings.mlflow_tracking_uri}/#/experiments")  # where nothing but the browser knows of the choice
    new.reload()
    expect(new.get_by_text("Model registry").first).to_be_visible()
    expect(new.get_by_text("Prompts")).to_have_count(0)
    expect(new.get_by_text("Welcome to MLflow Assistant")).to_have_count(0)
    new.context.close()
    address = stack.adapters.tracker.run_url(training)
    assert stack("open", address, "--print").stdout.strip().partition("&to=")[2] == quote(place_of(address), safe="")
    assert "is no page of this stack" in stack("open", "http://127.0.0.1:1/x", "--print", code=2).stderr


@pytest.fixture(scope="module")
def clicked(stack: Any) -> str:
    """A pipeline of this module alone: what a run of it promotes changes no other test's champion."""
    name: str = stack.pipeline("clicked", "processes: 2 -> processes: 1", "minimum: 0.8} -> minimum: 0.5}")
    stack("upload", name, "rows.csv")
    return name


def test_custom_run_is_filled_in_and_the_run_completes(stack: Any, clicked: str, page: Page) -> None:
    deployed = stack.json("deploy", clicked)[0]
    page.goto(f"{prefect_url(stack)}/deployments/deployment/{deployed['deployment_id']}/run")
    epochs = field(page, "Epochs")
    expect(epochs).to_have_value("20")
    expect(page.get_by_text("Passes over the training rows.")).to_be_visible()
    epochs.fill("3")
    field(page, "Requested by").fill("a person at a browser")
    shoot(page, "prefect-form")
    runs = DeploymentRuns(stack, deployed["deployment_id"])
    before = {run.id for run in runs.all()}
    page.get_by_role("button", name="Submit", exact=True).click()
    wait_for("the run to be there", lambda: {run.id for run in runs.all()} - before)
    page.goto("about:blank")  # a page that shows what goes on takes half a core
    run = runs.ended(besides=before)
    report = stack.adapters.store.get(f"runs/{run.id}.json")
    assert b'"epochs"' not in report
    assert run.state_name in ("Completed", "Failed")  # three epochs: either is honest
    outcome = "promoted" if run.state_name == "Completed" else "stopped by gate"
    assert outcome in run.tags
    assert run.parameters["parameters"]["epochs"] == 3
    page.goto(f"{prefect_url(stack)}/runs/flow-run/{run.id}")
    expect(page.get_by_text(re.compile(run.state_name)).first).to_be_visible()
    expect(page.get_by_text(outcome, exact=True).first).to_be_visible()
    for task in ("Ingest raw objects", "Train clicked", "Gate: champion"):
        expect(page.get_by_text(task).first).to_be_visible()
    shoot(page, "prefect-run")
    page.get_by_role("tab", name="Artifacts").or_(page.get_by_text("Artifacts", exact=True)).first.click()
    expect(page.get_by_text("gate-champion").first).to_be_visible()
    page.goto(f"{prefect_url(stack)}/deployments/deployment/{deployed['deployment_id']}?tab=Runs")
    expect(page.get_by_text(run.name).first).to_be_visible()  # its filter knows Prefect's own states alone
    shoot(page, "prefect-deployment")


def test_a_gates_table_is_readable(stack: Any, second: Any, page: Page) -> None:
    with stack.prefect() as client:
        artifacts = client.read_artifacts(limit=200)
        table = next(a for a in artifacts if a.key == "gate-champion" and str(a.flow_run_id) == second.report["run_id"])
    page.goto(f"{prefect_url(stack)}/artifacts/artifact/{table.id}")
    for words in ("non_inferiority", "accuracy", "verdict", "pass", "threshold", "above -0.02 against the champion"):
        expect(page.get_by_text(words).first).to_be_visible()
    shoot(page, "prefect-gate")


def choose(dialog: Locator, label: str, option: str) -> None:
    """Pick from a list of the dialog."""
    box = dialog.locator("label", has_text=label).locator("xpath=following::*[contains(@class, 'p-select')][1]")
    box.first.locator("button").first.focus()
    dialog.page.keyboard.press("ArrowDown")  # a click does not open it in a headless browser
    dialog.page.locator(".p-select-option__text").get_by_text(option, exact=True).last.click()


def test_a_paused_run_is_approved_in_the_form_and_promoted(stack: Any, page: Page) -> None:
    approval = "{kind: approval, approvers: [alice, bob], require: ui}"
    name = stack.pipeline(
        "asks-in-the-ui", "epochs: 20 -> epochs: 3", "processes: 2 -> processes: 1",
        "minimum: 0.8} -> minimum: 0.5}", f"  champion:\n ->   champion:\n    - {approval}\n",
    )  # fmt: skip
    stack("upload", name, "rows.csv")
    process = stack.start("run", name, "--json")
    waiting = stack.asks(name)
    with stack.prefect() as client:
        wait_for("the run to pause", lambda: client.read_flow_run(waiting["run_id"]).state_name == "Suspended")
    page.goto(f"{prefect_url(stack)}/runs/flow-run/{waiting['run_id']}")
    page.get_by_role("button", name="Resume").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("May version 1 of asks-in-the-ui be the first champion?")).to_be_visible()
    choose(dialog, "Decision", "approve")
    choose(dialog, "Approver", "alice")
    dialog.locator("textarea").first.fill("errors are where the labels are doubtful")
    shoot(page, "prefect-approval")
    dialog.get_by_role("button", name="Submit").click()
    with stack.prefect() as client:
        wait_for("the run to go on", lambda: client.read_flow_run(waiting["run_id"]).state_name != "Suspended")
    page.goto("about:blank")
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    report = json.loads(out)
    assert (report["outcome"], report["version"]) == ("promoted", 1)
    decision = load_decision(stack.adapters.store, stack.adapters.ledger.head(name).decision)
    (check,) = [one for one in decision["checks"] if one["kind"] == "approval"]
    assert "approved by alice: errors are where the labels are doubtful (prefect-ui" in check["reason"]
    page.goto(f"{prefect_url(stack)}/runs/flow-run/{waiting['run_id']}")
    page.get_by_role("tab", name="Artifacts").or_(page.get_by_text("Artifacts", exact=True)).first.click()
    expect(page.get_by_text("approval-champion").first).to_be_visible()


def test_tensorboard_shows_the_newest_run(stack: Any, second: Any, page: Page) -> None:
    process = stack.start("open", "tensorboard", "digits", "--print")
    try:
        link = process.stdout.readline().strip()
        page.goto(link)
        expect(page.get_by_text(second.report["training"]["mlflow_run"]).first).to_be_visible()
        expect(page.get_by_text("epoch/").or_(page.get_by_text("loss")).first).to_be_visible()
        shoot(page, "tensorboard")
    finally:
        process.terminate()
        process.communicate(timeout=300)


def test_mlflow_compares_version_1_with_2(stack: Any, first: Any, second: Any, page: Page) -> None:
    runs = [first["training"]["mlflow_run"], second.report["training"]["mlflow_run"]]
    experiment = stack.adapters.tracker.run_url(runs[0]).split("/experiments/")[1].split("/")[0]
    base = stack.settings.mlflow_tracking_uri
    listed = ",".join(f"%22{run}%22" for run in runs)
    page.goto(f"{base}/#/compare-runs?runs=[{listed}]&experiments=[%22{experiment}%22]")
    expect(page.get_by_text(re.compile("Comparing 2 Runs")).first).to_be_visible()
    page.get_by_role("button", name="Visualizations").click()
    for words in ("epoch_seconds", "test_accuracy"):  # the table draws only what is near the window
        expect(page.get_by_role("link", name=words, exact=True).first).to_be_attached()
    page.get_by_role("link", name="epoch_seconds", exact=True).first.scroll_into_view_if_needed()
    shoot(page, "mlflow-compare")
    page.goto(f"{base}/#/models/digits/versions/2")
    expect(page.get_by_text("champion").first).to_be_visible()
    expect(page.get_by_text("ratchet.work_key").first).to_be_attached()
    shoot(page, "mlflow-version")
