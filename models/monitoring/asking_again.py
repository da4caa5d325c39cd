"""What a bounded sample of a window's rows is asked again: which fields the answers rest on, and what the version
before says of the same rows.

The rows are those whose inputs were logged whole, drawn by a hash of their request, so that whoever measures the window
later draws the same. Programs run elsewhere (`Asks`); here is what becomes of their answers.

Shape legend: N rows of the test, M rows of the window, F fields.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from mlratchet.models.errors import RatchetError
from mlratchet.models.evaluation.statistics.proportions import clopper_pearson
from mlratchet.models.inference_log.columns import FIELD
from mlratchet.models.monitoring.window import Figure

logger = logging.getLogger(__name__)
Array = np.ndarray[Any, Any]
RESAMPLES = 1000
SEED = 14
DIGITS = 4  # of a share: gradients of another machine differ in the last bits
LEAST_ROWS = 30
RELIES, RELIED, SHIFT, SAMPLED = "relies ", "relied ", "reliance", "disagreement sampled"
"""Names of figures: `relies price` in the window, `relied price` on the test rows, how far all of them moved,
and how often the version before says another thing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AskedAgain:
    """What the programs answered."""

    fields: tuple[str, ...] = ()
    test: Array | None = None
    """(N, F) shares of the answer that each field has, of the version's test rows; rows sum to 1."""
    window: Array | None = None
    """(M, F)"""
    method: str = ""
    before: int = 0
    """The version before; 0: there is none that takes these rows."""
    said_before: Sequence[str] = ()
    """Its answers, of as many rows as were sent."""
    said: Sequence[str] = ()
    """Those that were logged."""


Asks = Callable[[pa.Table], AskedAgain]
"""Of rows of the log with `output` and the fields. Raises ``RatchetError`` where nobody can be asked."""


def forgiving(ask: Asks | None) -> Asks | None:
    """One that answers nothing where nobody can be asked: a look goes on without."""
    if ask is None:
        return None

    def asked(sample: pa.Table) -> AskedAgain:
        try:
            return ask(sample)
        except RatchetError as error:
            logger.warning("nothing is known of what a window's answers rest on: %s", error.line())
            return AskedAgain()

    return asked


def was_asked(figures: Mapping[str, Figure]) -> bool:
    """Whether the figures of a window say what programs answered."""
    return any(name.startswith((RELIES, RELIED)) or name == SAMPLED for name in figures)


def with_most_fields(sample: pa.Table | None, table: pa.Table) -> list[pa.Table]:
    """Those to draw from: where `serving.log.fields` was changed within a window, some rows lack what others have."""
    if sample is None:
        return [table]
    held, found = ({name for name in one.column_names if name.startswith(FIELD)} for one in (sample, table))
    if held == found:
        return [sample, table]
    return [table] if len(found) > len(held) else [sample]


def drawn(tables: Sequence[pa.Table], rows: int) -> pa.Table | None:
    """The `rows` rows with the smallest hashes of their request id and number; None where there is none."""
    if not tables:
        return None
    table = pa.concat_tables(tables, promote_options="default")
    if not table.num_rows:
        return None
    names = zip(table["request_id"].to_pylist(), table["row"].to_pylist(), strict=True)
    marks = [hashlib.blake2b(f"{request}/{row}".encode(), digest_size=8).digest() for request, row in names]
    order = sorted(range(len(marks)), key=lambda at: (marks[at], at))[:rows]
    return table.take(pa.array(sorted(order), pa.int64()))


def figures_of(asked: AskedAgain) -> dict[str, Figure]:
    """Shares by field, how far they moved from the test rows, and how often the version before says another thing."""
    found: dict[str, Figure] = {}
    if asked.test is not None and asked.window is not None and len(asked.window) >= LEAST_ROWS:
        shares, moved = reliance(asked.test, asked.window, asked.method)
        found |= {f"{RELIES}{name}": figure for name, figure in zip(asked.fields, shares, strict=True)}
        then = asked.test.mean(axis=0)
        found |= {
            f"{RELIED}{name}": Figure(value=_plain(share), n=len(asked.test), method=asked.method)
            for name, share in zip(asked.fields, then, strict=True)
        }
        found[SHIFT] = moved
    if asked.before and asked.said:
        n = len(asked.said)
        other = sum(one != then for one, then in zip(asked.said, asked.said_before, strict=True))
        ends = clopper_pearson(other, n, confidence=0.95)
        found[SAMPLED] = Figure(
            value=other / n, low=ends.low, high=ends.high, n=n,
            method=f"Clopper-Pearson, 95 %; version {asked.before} on a sample of the rows",
        )  # fmt: skip
    return found


def reliance(test_NF: Array, window_MF: Array, method: str) -> tuple[list[Figure], Figure]:
    """The mean share of each field in the window, and how far all of them moved: total variation, 0.5 sum |p - q|, less
    what sampling adds (basic bootstrap of both sides), between 0 and 1."""
    n, m = len(test_NF), len(window_MF)
    rng = np.random.default_rng(SEED)
    test_RF, window_RF = (
        rng.multinomial(len(one), np.full(len(one), 1 / len(one)), size=RESAMPLES) @ one / len(one)
        for one in (test_NF, window_MF)
    )
    then, now = test_NF.mean(axis=0), window_MF.mean(axis=0)
    effect = 0.5 * float(np.abs(now - then).sum())
    resampled = 0.5 * np.abs(window_RF - test_RF).sum(axis=1)
    low, high = (max(0.0, 2 * effect - float(end)) for end in np.quantile(resampled, [0.975, 0.025]))
    ends = np.quantile(window_RF, [0.025, 0.975], axis=0)
    how = f"share of |attribution|, {method}; bootstrap over rows"
    shares = [
        Figure(value=_plain(now[at]), low=_plain(ends[0, at]), high=_plain(ends[1, at]), n=m, method=how)
        for at in range(len(now))
    ]
    told = f"total variation of the shares of {n} test rows and {m} of the window; {method}"
    return shares, Figure(value=_plain(effect), low=_plain(min(low, effect)), high=_plain(high), n=m, method=told)


def _plain(value: Any) -> float:
    return round(float(value), DIGITS)


def shares_by_field(values_NP: Array, fields_PF: Array) -> Array:
    """(N, F) shares of |attribution| of the fields, of which the P parts of the input are made; a row without any is
    spread evenly."""
    summed = np.abs(values_NP.reshape(len(values_NP), -1)).astype(np.float64) @ fields_PF
    total = summed.sum(axis=1, keepdims=True)
    even = np.full_like(summed, 1 / max(1, summed.shape[1]))
    return np.asarray(np.divide(summed, total, out=even, where=total > 0))


def relied_on(figures: Mapping[str, Figure]) -> dict[str, float]:
    """Field -> its share of the answers of the test rows."""
    return {name.removeprefix(RELIED): one.value for name, one in figures.items() if name.startswith(RELIED)}


def moved_most(figures: Mapping[str, Figure], count: int = 3) -> str:
    """`price 12% -> 31%`, the largest first."""
    then = relied_on(figures)
    now = {name.removeprefix(RELIES): one.value for name, one in figures.items() if name.startswith(RELIES)}
    order = sorted(now, key=lambda name: (-abs(now[name] - then.get(name, 0.0)), name))[:count]
    return ", ".join(f"{name} {then.get(name, 0.0):.0%} -> {now[name]:.0%}" for name in order)
