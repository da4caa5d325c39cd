"""The sections that every drafted file has: the split, the training and the gates, by task and number of rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlratchet.models.drafting.baseline import Bar, margin_of
from mlratchet.models.drafting.commented import Commented
from mlratchet.models.drafting.delivery import LocalFiles
from mlratchet.models.drafting.group_sides import salt_of
from mlratchet.models.errors import DataError
from mlratchet.models.evaluation.statistics.unseen import rows_to_see

FEWEST_ROWS = 40
STEPS = 3_000  # of a training, about
SMALL = 20_000  # rows below which several processes are slower than one
ENOUGH_TEST_ROWS = 5_000
VALIDATION = 0.15


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many rows there are, and what follows."""

    rows: int  # that can be used, at least as many
    sure: bool  # whether that is all of them
    repeated: int = 0  # of them one before them equals, which a run sets aside

    def __post_init__(self) -> None:
        if self.rows < FEWEST_ROWS:
            raise DataError(f"{self.rows} rows can be used; expected at least {FEWEST_ROWS} to train and judge a model")

    @property
    def kept(self) -> int:
        """Rows that differ, at least."""
        return max(0, self.rows - self.repeated)

    @property
    def test_share(self) -> float:
        """Enough to judge by, not more than is needed."""
        return 0.3 if self.rows < 2_000 else round(max(0.1, min(0.25, ENOUGH_TEST_ROWS / self.rows)), 2)

    @property
    def test_rows(self) -> int:
        """About."""
        return int(self.rows * self.test_share)

    @property
    def batch(self) -> int:
        """Rows of a step."""
        return next((size for most, size in ((2_000, 32), (SMALL, 64), (200_000, 256)) if self.rows < most), 1024)

    @property
    def epochs(self) -> int:
        """So that there are about as many steps, whatever the rows."""
        train = self.rows * (1 - self.test_share - VALIDATION)
        return max(3, min(100, math.ceil(STEPS * self.batch / train)))

    def words(self) -> str:
        """`5,000 rows`."""
        return f"{self.rows:,} rows" if self.sure else f"the first {self.rows:,} rows"


def write_written(out: Commented, delivery: LocalFiles) -> None:
    """What was said of how a table is written; the rest is found out of every file."""
    written = delivery.written
    if written.encoding:
        out.entry("encoding", written.encoding, "of every file: its bytes do not tell", depth=1)
    if written.dialect.delimiter:
        out.entry("delimiter", written.dialect.delimiter, "as it was said", depth=1)
    if written.dialect.quotes:
        out.entry("quotes", written.dialect.quotes, "as it was said", depth=1)
    if written.header:
        out.entry("header", list(written.header), "the files have no line of names", depth=1)


def write_split(out: Commented, size: Size, rows_by_group: Mapping[str, int] | None = None) -> None:
    """`data`. `rows_by_group`: where rows of one group stay on one side."""
    out.section("data")
    out.section("split", "by a hash of the row's name: it never changes side", depth=1)
    out.entry("validation", VALIDATION, "decides when training stops", depth=2)
    out.entry("test", size.test_share, f"about {size.test_rows:,} rows, which judge and nothing else", depth=2)
    salt = salt_of(rows_by_group, validation=VALIDATION, test=size.test_share) if rows_by_group else None
    if salt is not None:
        out.entry("salt", salt, f"{len(rows_by_group or {})} groups: the usual one leaves a side too few", depth=2)


def write_training(out: Commented, size: Size) -> None:
    """`train`."""
    out.section("train")
    out.entry("epochs", size.epochs, f"about {STEPS:,} steps, fewer where validation stops it", depth=1)
    out.entry("global_batch_size", size.batch, "rows of a step", depth=1)
    if size.rows < SMALL:
        out.entry("shards", 1, "for so few rows one process is the quickest", depth=1)
        out.entry("processes", 1, depth=1)
    out.entry("optimizer", {"name": "adamw", "learning_rate": 0.005, "weight_decay": 0.01}, depth=1)
    stopping = {"metric": "loss", "patience_epochs": max(5, size.epochs // 5)}
    out.entry("early_stopping", stopping, "the best weights are kept", depth=1)
    out.entry("seed", 0, "the same seed and rows give the same weights, to the bit", depth=1)


def write_gates(
    out: Commented, size: Size, bar: Bar, *, classes: Mapping[str, int], spread: float = 1.0,
    rejected: float = 0.0, each: Sequence[Bar] = (), margin: float | None = None,
) -> None:  # fmt: skip
    """`gates`. `classes`: rows by class; `spread`: standard deviation of a number that is learnt; `rejected`: share of
    the rows that were looked at which are set aside; `each`: floors beside that of `bar`, of a label each; `margin`:
    None: of as many test rows as there are."""
    margin = margin_of(size.test_rows) if margin is None else margin
    out.section("gates", "all must pass before a model is served")
    out.section("data", "the delivery", depth=1)
    half_more, half_of_the_rest = math.ceil(150 * rejected), math.ceil(50 + 50 * rejected)  # in percent
    fewest, most = max(1, size.kept // 2), max(0.05, min(half_more, half_of_the_rest) / 100)
    out.item({"kind": "data", "measure": "rows", "minimum": fewest}, "half of what was there", depth=2)
    out.item({"kind": "data", "measure": "rejected_fraction", "maximum": most}, "more set aside is a fault", depth=2)
    if classes:
        out.item({"kind": "data", "measure": "class_count", "minimum": len(classes)}, "no class is gone", depth=2)
        shift = {"kind": "data", "measure": "label_prior_shift", "maximum": 0.2}
        out.item(shift, "shares of the classes, against the champion's rows", depth=2)
    floor = {"kind": "absolute", "metric": bar.metric, "minimum": bar.floor}
    out.section("candidate", "the model on test rows", depth=1)
    out.item(floor, f"{bar.words()}, on {size.words()}", depth=2)
    floors = [({"kind": "absolute", "metric": one.metric, "minimum": one.floor}, one.words()) for one in each]
    for one, words in floors:
        out.item(one, words, depth=2)
    out.section("staging", "the packaged model, in a clean process", depth=1)
    parity = 0.0001 if classes else float(f"{max(1e-4, 1e-4 * spread):.1g}")
    out.item({"kind": "parity", "maximum_difference": parity}, "it answers as the trained one", depth=2)
    out.item({"kind": "latency", "quantile": "p95", "maximum_milliseconds": 100}, "one row", depth=2)
    out.section("champion", "against the model that serves", depth=1)
    out.item(floor, "small losses cannot add up below it", depth=2)
    for one, _ in floors:
        out.item(one, depth=2)
    same = {"kind": "non_inferiority", "metric": bar.metric, "margin": margin}
    out.item(same, _power(size, bar, margin), depth=2)


def _power(size: Size, bar: Bar, margin: float) -> str:
    needed = rows_to_see()
    if bar.metric == "r2" and size.test_rows < needed:
        records = math.ceil(needed / size.test_share)
        return (
            f"holds every next model below {needed} test rows, {records} rows in all: deliver more before a retraining"
        )
    if bar.metric in ("r2", "roc_auc_macro") or bar.metric.startswith("ndcg"):
        return f"at most {margin:g} worse; `ratchet validate` computes what can be shown once there is a champion"
    return f"an equally good model passes four times in five with {size.test_rows:,} test rows; more rows, less margin"
