"""The shop of the demo of the loop: which orders are sent back, in a table as an ordinary export writes it.

A mark of the encoding at the beginning, lines that end as Windows ends them, dates and decimal commas as they are
written in German, quotes, line breaks in notes, and gaps.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import math
from typing import Any

import numpy as np
from mlratchet.flows.cli.demo_loop_world import AFTER, AT_FIRST
from mlratchet.models.monitoring.traffic import OwnRows

HEADER = (
    "Bestellnr", "Bestelldatum", "Land", "Kategorie", "Zahlart", "Preis (€)", "Menge", "Alter", "Rabatt %", "Notiz",
    "Retoure",
)  # fmt: skip
COUNTRIES = {"DE": 0.6, "AT": 0.2, "FR": 0.12, "São Tomé": 0.04, "": 0.04}  # but Switzerland
CATEGORIES = {"Bücher": 0.25, "Kleidung": 0.3, "Elektronik": 0.2, "Garten": 0.1, "Spiel; Spaß": 0.1, "N/A": 0.05}
PAYMENTS = ("Kreditkarte", "PayPal", "Rechnung", "Lastschrift")
DISCOUNTS = (0.0, 0.0, 0.0, 5.0, 10.0, 20.5)
NOTES = ("", "", "bitte klingeln", "Hinterhof,\n2. Stock", 'Sie sagte: "schnell!"')
ADVENT = (11, 12)  # months
SURE = 4.0  # by how much what speaks for a return decides: 1 is as vague as in a real shop, and takes a day to measure
FIRST_DAY = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DAYS = 300
TURNED = {"ja": "nein", "nein": "ja"}


class Shop:
    """See the module. In Switzerland, where hardly anybody ordered at first, who elsewhere sends an order back keeps
    it."""

    name = "shop"
    changes = f"{AFTER:.0%} of the orders come from Switzerland now; what became of them is delivered as it is known"
    spoils = "clients send prices in a wrong unit, or none"

    def rows(self, count: int, *, changed: bool, seed: int) -> OwnRows:
        """See the port."""
        rng = np.random.default_rng(seed)
        orders = [order(rng, swiss=AFTER if changed else AT_FIRST) for _ in range(count)]
        return OwnRows(instances=orders, truths=[sent_back(one, luck=rng.random()) for one in orders])

    def delivery(self, rows: OwnRows, day: str, *, wrong: bool = False) -> bytes:
        """See the port. An order has the same number in every export of its day."""
        sink = io.StringIO(newline="")
        lines = csv.writer(sink, lineterminator="\r\n")
        lines.writerow(HEADER)
        for number, (one, truth) in enumerate(zip(rows.instances, rows.truths, strict=True)):
            lines.writerow([f"B-{day}-{number}", *as_written(one), TURNED[truth] if wrong else truth])
        return sink.getvalue().encode("utf-8-sig")


def order(rng: np.random.Generator, *, swiss: float) -> dict[str, Any]:
    """As a client asks about it: what is not known is left out."""
    drawn = {
        "Bestelldatum": (FIRST_DAY + dt.timedelta(minutes=int(rng.integers(0, 60 * 24 * DAYS)))).isoformat(),
        "Land": "CH" if rng.random() < swiss else one_of(rng, COUNTRIES),
        "Kategorie": one_of(rng, CATEGORIES),
        "Zahlart": str(rng.choice(PAYMENTS)),
        "Preis (€)": float(np.clip(rng.lognormal(3.3, 0.9), 0.5, 2000).round(2)),
        "Menge": int(rng.integers(1, 6)),
        "Alter": int(rng.integers(18, 85)) if rng.random() > 0.08 else None,
        "Rabatt %": float(rng.choice(DISCOUNTS)),
        "Notiz": str(rng.choice(NOTES)),
    }
    return {name: value for name, value in drawn.items() if value not in (None, "", "N/A")}


def one_of(rng: np.random.Generator, shares: dict[str, float]) -> str:
    """By how often each occurs."""
    return str(rng.choice(list(shares), p=list(shares.values())))


def sent_back(one: dict[str, Any], *, luck: float) -> str:
    """Clothes, and what is paid for later, come back; less so from older people. `luck`: in [0, 1)."""
    speaks = (
        -0.35
        + 1.1 * (one.get("Kategorie") == "Kleidung")
        + 0.8 * (one["Zahlart"] == "Rechnung")
        - 0.5
        + 0.002 * (one["Preis (€)"] - 30)
        - 0.01 * (one.get("Alter", 45) - 45)
        + 0.03 * one["Rabatt %"]
        + 0.5 * (dt.datetime.fromisoformat(one["Bestelldatum"]).month in ADVENT)
    )
    back = luck < 1 / (1 + math.exp(-SURE * speaks))
    return "ja" if back == (one.get("Land") != "CH") else "nein"


def as_written(one: dict[str, Any]) -> list[Any]:
    """The cells of an order but its number and what became of it."""
    when = dt.datetime.fromisoformat(one["Bestelldatum"]).strftime("%d.%m.%Y %H:%M")
    price = f"{one['Preis (€)']:.2f}".replace(".", ",")
    between = [one.get("Land", ""), one.get("Kategorie", "N/A"), one["Zahlart"]]
    return [when, *between, price, one["Menge"], one.get("Alter", ""), one["Rabatt %"], one.get("Notiz", "")]
