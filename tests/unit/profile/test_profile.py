"""What a dataset holds: counts, ranges and gaps by side, and which rows are shown."""

from __future__ import annotations

import io
import json
import re
import wave

import numpy as np
import pytest
from mlratchet.models.profile.charts import figure, shown, sides_bar
from mlratchet.models.profile.measure import SAMPLE, NumbersSeen, WordsSeen, edges_of
from mlratchet.models.profile.page import STYLE, data_page
from PIL import Image

from .conftest import Make, shop_row

ROWS = [shop_row(number) for number in range(400)]
TABLE = (
    "workload: {use: 'mlratchet.models.workloads.tabular:TableClassifier', "
    'parameters: {columns: [a, b], classes: ["0", "1"]}}\nsource: {prefix: d/, format: csv, id_column: id}'
)


def test_every_row_is_counted_by_side_and_class(make: Make) -> None:
    made = make(ROWS)
    found = made.profile()
    assert sum(found.rows.values()) == sum(found.looked_at.values()) == 400
    totals = {name: sum(side.counts[name] for side in found.label.sides.values()) for name in ("yes", "no")}
    assert totals == {"yes": 100, "no": 300}
    assert found.classes == ("yes", "no")


def test_ranges_and_gaps_are_exact(make: Make) -> None:
    fields = {one.name: one for one in make(ROWS).profile().fields}
    assert (fields["price"].missing, fields["price"].given) == (40, 360)
    sides = fields["price"].sides.values()
    assert (min(one.least for one in sides), max(one.most for one in sides)) == (1.5, 399.5)  # type: ignore[type-var]
    given = [number + 0.5 for number in range(400) if number % 10]
    mean = sum((one.mean or 0) * one.given for one in sides) / 360
    assert mean == pytest.approx(np.mean(given))
    assert (fields["land"].missing, fields["channel"].missing) == (133, 0)
    assert not fields["channel"].input
    day = fields["day"].sides["train"]
    assert shown(day.least or 0, "time") == "2026-01-01"
    assert fields["note"].measured == "characters"


@pytest.mark.parametrize("step", [1, 7, 5000])
def test_numbers_are_measured_alike_however_they_come(step: int) -> None:
    values = np.random.default_rng(0).normal(50, 3, size=3 * SAMPLE)
    values[::100] = np.nan
    seen = NumbersSeen()
    for at in range(0, 1000 if step == 1 else len(values), step):
        seen.see(values[at : at + step])
    read = values[: 1000 if step == 1 else len(values)]
    there = read[np.isfinite(read)]
    assert (seen.given, seen.missing) == (len(there), len(read) - len(there))
    assert seen.mean == pytest.approx(there.mean())
    assert seen.deviation == pytest.approx(there.std())
    assert len(seen.sample) == min(SAMPLE, len(there))
    assert np.median(seen.sample) == pytest.approx(np.median(there), abs=0.3)


def test_words_without_end_are_held_in_bounds() -> None:
    seen = WordsSeen()
    seen.see(str(number) for number in range(30_000))
    assert (seen.given, len(seen.counts), seen.uncounted) == (30_000, 10_000, True)


def test_bins_are_of_the_middle_and_whole_numbers_of_few_kinds_have_one_each() -> None:
    values = np.append(np.linspace(0, 1, 10_000), 1e9)
    assert edges_of([values])[-1] < 2
    assert edges_of([np.asarray([1.0, 2, 4])]) == (0.5, 1.5, 2.5, 3.5, 4.5)
    assert edges_of([np.zeros(0)]) == ()


def test_examples_are_training_rows_and_the_same_each_time(make: Make) -> None:
    made = make(ROWS)
    found = made.profile()
    held = {row.id for rows in found.examples.values() for row in rows}
    assert len(held) == 16
    from mlratchet.models.data.shards import load_split

    assert held <= set(load_split(made.store, made.manifest, "train").ids)
    again = {row.id for rows in made.profile().examples.values() for row in rows}
    assert held == again


def test_of_many_shards_some_are_looked_at_and_the_page_says_so(make: Make) -> None:
    found = make(ROWS, data="data: {rows_per_shard: 20}").profile(most_shards=2)
    assert 0 < sum(found.looked_at.values()) <= 120
    assert "of 400 rows, evenly spread" in data_page(found, name="shop")


def test_the_page_holds_all_it_shows_and_escapes_what_people_wrote(make: Make) -> None:
    rows = [shop_row(number, note="<script>alert(1)</script>", land="<b>DE") for number in range(60)]
    page = data_page(make(rows).profile(reading="60 read <x>"), name="shop<i>")
    assert "one word in all rows" in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    for title in ("price: share of rows by EUR", "land: share of rows by word", "Rows by side of the split"):
        assert title in page


def test_a_document_is_json_and_names_every_field(make: Make) -> None:
    told = json.loads(json.dumps(make(ROWS).profile().document(), allow_nan=False))
    assert [one["name"] for one in told["fields"]] == ["land", "price", "day", "note", "channel"]
    assert told["label"]["sides"]["train"]["counts"]


def test_a_table_of_numbers_without_a_schema_is_told_by_its_columns(make: Make) -> None:
    lines = ["id,a,b,label,region", *(f"r{n},{n},{-n},{n % 2},{('eu', 'us')[n % 2]}" for n in range(200))]
    found = make({"t.csv": "\n".join(lines).encode()}, what=TABLE).profile()
    assert [(one.name, one.kind, one.input) for one in found.fields] == [
        ("a", "number", True), ("b", "number", True), ("region", "category", False),
    ]  # fmt: skip
    assert "region: share of rows by word" in data_page(found, name="t")


def test_pictures_are_a_contact_sheet_and_sounds_spectrograms(make: Make) -> None:
    pictures, sounds = {}, {}
    for number in range(40):
        sink = io.BytesIO()
        Image.new("RGB", (30, 20), (number * 5, 90, 10)).save(sink, "PNG")
        pictures[f"{('cat', 'dog')[number % 2]}/{number}.png"] = sink.getvalue()
        sink = io.BytesIO()
        with wave.open(sink, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            wavy = np.sin(np.arange(4_000) * (0.1 + number / 100)) * 9_000
            file.writeframes(wavy.astype("<i2").tobytes())
        sounds[f"{('low', 'high')[number % 2]}/{number}.wav"] = sink.getvalue()
    seen = "{{label: what, fields: {{{name}: {{kind: {kind}}}, what: {{kind: category, values: [{values}]}}}}}}"
    for objects, name, kind, values, form in (
        (pictures, "picture", "image", "cat, dog", "image_folder"),
        (sounds, "sound", "audio", "low, high", "audio_folder"),
    ):
        schema = seen.format(name=name, kind=kind, values=values)
        found = make(objects, what=f"schema: {schema}\nsource: {{prefix: d/, format: {form}}}").profile()
        page = data_page(found, name="media")
        assert page.count("data:image/png;base64,") == 16
        assert ("spectrograms" in page) == (kind == "audio")


def test_figures_are_short() -> None:
    assert [figure(one) for one in (3.0, 1234567.0, 0.123456, 12345.678)] == ["3", "1,234,567", "0.1235", "12,345.7"]


def test_the_sides_of_the_split_are_as_wide_as_the_page() -> None:
    """A bar that ends before the cards above it looks like rows that are on no side."""
    (most, beside) = map(int, re.findall(r"main\{max-width:(\d+)px;.*?padding:\d+px (\d+)px", STYLE)[0])
    drawn = sides_bar({"train": 37, "validation": 9, "test": 14})
    ends = [float(x) + float(wide) for x, wide in re.findall(r'<rect x="([\d.]+)" y="0" width="([\d.]+)"', drawn)]
    assert max(ends) == pytest.approx(most - 2 * beside, abs=3)
