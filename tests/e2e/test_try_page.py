"""The page to try a model, in headless Chromium, as a person uses it. Screenshots are kept where RATCHET_SCREENSHOTS
says."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mlratchet.models.artifact.signature import Signature, signature_of
from mlratchet.models.preparation.composed import PreparationPlan
from mlratchet.models.schema.fields import Schema
from mlratchet.models.schema.request import parse_examples
from mlratchet.models.serving.app import ServingApp
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.endpoint import Endpoint
from mlratchet.models.serving.metrics import Metrics
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.slot import Slot
from mlratchet.models.sources.record import InputSpec
from mlratchet.models.tensors.batch import Batch
from mlratchet.models.workloads.fields import SchemaWorkload
from playwright.sync_api import Browser, ConsoleMessage, Page, expect
from sklearn.datasets import load_digits

from tests.conftest import wait_for
from tests.listening import listening
from tests.unit.serving.six_schemas import Kind, predictor_of, predictor_over, wav

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium (apt-get install chromium)"),
]
PATIENCE_MS = 120_000
DAYS = Kind(
    fields={
        "when": {"kind": "time", "format": "%d.%m.%Y %H:%M"}, "day": {"kind": "time", "format": "%d.%m.%Y"},
        "amount": {"kind": "number"},
    },
    example={"when": "28.02.2026 17:45", "day": "28.02.2026", "amount": 3},
)  # fmt: skip
NOTES = {"arrived broken and late": 1, "fits well, lovely colour": 0, "broken zip": 1, "lovely, would buy again": 0}


def digits() -> Predictor:
    """The nearest mean of each class, as a linear model."""
    data = load_digits()
    means = torch.stack([torch.tensor(data.images[data.target == name] / 16).mean(0) for name in range(10)]).float()
    bias = means.flatten(1).square().sum(1) / 2

    def model(x: torch.Tensor) -> torch.Tensor:
        return (x.flatten(1) @ means.flatten(1).T - bias) * 2

    spec = InputSpec(kind="image", shape=(1, 8, 8), dtype="float32", value_range=(0.0, 1.0))
    names = tuple(map(str, range(10)))
    return Predictor(version=3, generation=1, signature=Signature(task="classification", classes=names, input=spec),
                     model=model)  # fmt: skip


def shop() -> Predictor:
    """Whether an order comes back: it does the more, the more it costs, and for some words."""
    fields: dict[str, Any] = {
        "price": {"kind": "number", "unit": "EUR", "minimum": 0},
        "category": {"kind": "category", "values": ["shoes", "shirts", "hats"]},
        "note": {"kind": "text", "nullable": True, "description": "what the customer wrote"},
        "returned": {"kind": "category", "values": ["no", "yes"]},
    }
    known = Schema.model_validate({"fields": fields, "label": "returned"})
    examples = [{"price": 10.0 + 20 * at, "category": "shoes", "note": note} for at, note in enumerate(list(NOTES) * 4)]
    state = PreparationPlan(known).fit(lambda: iter([parse_examples(examples, known)]))
    workload = SchemaWorkload(schema=known.model_dump(mode="json"), fitted=base64.b64encode(state.to_bytes()).decode())
    plan = PreparationPlan(known)
    weights: dict[int, float] = {}
    for note, comes_back in NOTES.items():
        table = parse_examples([{"price": 1.0, "category": "shoes", "note": note}], known)
        for code in plan.apply(table, state).arrays()["inputs.note.values"].tolist():
            weights[code] = weights.get(code, 0.0) + (1.0 if comes_back else -1.0)

    def model(x: Batch) -> torch.Tensor:
        assert isinstance(x, dict)
        words = torch.tensor([[weights.get(int(code), 0.0) for code in row] for row in x["note"]]).sum(1)
        yes = x["numbers"][:, 0] * 0.8 + words * 0.5
        return torch.stack([-yes, yes], 1)

    return Predictor(version=7, generation=2, signature=signature_of(workload), model=model)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Of a server of four pipelines."""
    app = ServingApp(Metrics())
    served = {"digits": digits(), "shop": shop(), "sounds": predictor_of("sound"), "days": predictor_over(DAYS)}
    for name, predictor in served.items():
        slot = Slot()
        slot.swap(predictor)
        app.take_up(Endpoint(name, slot, ServingConfig(form=("when", "day", "amount")), metrics=app.metrics))
    with listening(app) as place:
        yield f"http://{place}"


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """One that fails on whatever the browser complains of, a refusal of the policy among it, and on any other host."""
    context = browser.new_context(viewport={"width": 1100, "height": 860}, reduced_motion="reduce")
    made = context.new_page()
    made.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    wrong: list[str] = []
    made.on("console", lambda one: _complaint(one, wrong))
    made.on("pageerror", lambda error: wrong.append(str(error)))
    made.on("request", lambda one: wrong.append(one.url) if not one.url.startswith((url, "blob:")) else None)
    yield made
    context.close()
    assert wrong == []


def _complaint(message: ConsoleMessage, wrong: list[str]) -> None:
    if message.type == "error" and "422" not in message.text:  # a refused example is one to the browser
        wrong.append(message.text)


def shoot(page: Page, name: str) -> None:
    folder = os.environ.get("RATCHET_SCREENSHOTS")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def draw(page: Page, strokes: list[list[tuple[float, float]]]) -> None:
    """With the mouse, in parts of the canvas's side."""
    box = page.locator(".picture canvas").first.bounding_box()
    assert box is not None
    for stroke in strokes:
        for number, (x, y) in enumerate(stroke):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=1 if not number else 6)
            if not number:
                page.mouse.down()
        page.mouse.up()


def test_a_digit_is_drawn_answered_and_explained(page: Page, url: str) -> None:
    page.goto(f"{url}/digits")
    assert page.url == f"{url}/digits/"
    expect(page.get_by_text("version 3 · classification")).to_be_visible()
    draw(page, [[(0.25, 0.15), (0.75, 0.15), (0.6, 0.5), (0.45, 0.9)], [(0.35, 0.5), (0.75, 0.5)]])
    expect(page.locator(".said")).to_contain_text("7")
    assert page.locator("#answer .bars .name").all_inner_texts()[0] == "7"
    assert len(page.locator("#answer .fill").all()) == 10
    expect(page.locator("#why")).to_contain_text("Integrated Gradients")
    over = page.locator("canvas.over")
    marked = "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(one => one)"
    wait_for("a marked pixel: a stroke takes away what marked the drawing before it", lambda: over.evaluate(marked))
    shoot(page, "try-digits")
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_text("Nothing was asked yet.")).to_be_visible()
    assert not page.locator("canvas.over").evaluate(marked)


def test_a_row_with_words_is_filled_answered_and_explained(page: Page, url: str) -> None:
    page.goto(f"{url}/shop/")
    page.get_by_label("note").fill("arrived late 🎩 and the zip was broken, lovely colour")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#problem")).to_contain_text("price: missing")
    expect(page.locator(".field.wrong")).to_contain_text("price")
    page.get_by_label("price").fill("240.5")
    page.get_by_label("category").select_option("shirts")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".said")).to_contain_text("yes")
    expect(page.locator("#problem")).to_be_hidden()
    expect(page.locator("#why mark", has_text="colour")).to_be_visible()
    assert "broken," in page.locator("#why mark").all_inner_texts()
    assert page.locator(".words").inner_text() == "arrived late 🎩 and the zip was broken, lovely colour"
    strongest = page.locator("#why .bars .name").first.inner_text()
    assert strongest in ("price", "note")
    shoot(page, "try-shop")


def test_a_day_is_typed_as_the_data_write_it_or_picked_in_the_calendar(page: Page, url: str) -> None:
    page.goto(f"{url}/days/")
    expect(page.locator(".field label")).to_have_text(["when", "day", "amount"])
    assert page.get_by_label("day").get_attribute("placeholder") == "31.01.2026"
    page.get_by_label("when").fill("28.02.2026 17:45")
    page.get_by_label("amount").fill("3")
    page.locator(".field", has_text="day").locator("input[type=date]").fill("2026-02-28")
    assert page.get_by_label("day").input_value() == "28.02.2026"
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".said")).to_be_visible()
    page.get_by_label("day").fill("31.02.2026")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#problem")).to_contain_text("day: got '31.02.2026', expected a time as %d.%m.%Y")
    expect(page.locator(".said")).to_have_count(0)  # what was answered before is no answer to this
    page.locator("input[type=datetime-local]").fill("2026-03-01T08:30")
    assert page.get_by_label("when").input_value() == "01.03.2026 08:30"
    shoot(page, "try-days")


def test_a_sound_is_dropped_drawn_and_explained(page: Page, url: str) -> None:
    page.goto(f"{url}/sounds/")
    page.locator("input[type=file]").set_input_files({"name": "a.wav", "mimeType": "audio/wav", "buffer": wav()})
    expect(page.locator(".said")).to_contain_text("version 1")
    expect(page.locator("#why")).to_be_visible()
    expect(page.locator("audio")).to_be_visible()
    drawn = "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(one => one)"
    assert page.locator("canvas.wave").evaluate(drawn)
    shoot(page, "try-sound")


def test_a_picture_is_dropped_and_no_page_may_frame_it(page: Page, url: str) -> None:
    from tests.unit.serving.six_schemas import png

    reply = page.goto(f"{url}/digits/")
    assert reply is not None
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    page.locator("input[type=file]").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": png()})
    expect(page.locator(".said")).to_contain_text("version 3")
