"""The direct road of requests that are here whole: neither a task nor a future for each, and one word to who observes
for all that one forward answered.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import numpy as np
from mlratchet.models.serving.admission import Admission, Held
from mlratchet.models.serving.asked import CLIENT_KEY, REPLAYED, Asked
from mlratchet.models.serving.batcher import Batcher
from mlratchet.models.serving.observing import AnsweredTogether, Observer
from mlratchet.models.serving.predictor import Answers
from mlratchet.models.serving.reading.content import RequestContent
from mlratchet.models.serving.reply import Reply
from mlratchet.models.serving.together import PreparedTogether
from mlratchet.models.tensors.named import Inputs

logger = logging.getLogger(__name__)
OK = 200
LEAST = 4  # answers that are told together: to join fewer costs more than to tell of each


class TakenOver:
    """One request that was taken over, told first its rows and then its answers, as a future is."""

    __slots__ = ("asked", "content", "found", "held", "is_gone", "road", "send")

    def __init__(
        self, road: DirectRoad, asked: Asked, content: RequestContent, held: Held, is_gone: Callable[[], bool],
        send: Callable[[Reply], None],
    ) -> None:  # fmt: skip
        """`held`: given back once it is answered; `send`: told the reply, once; it does not raise."""
        self.road, self.asked, self.content, self.held = road, asked, content, held
        self.is_gone, self.send = is_gone, send
        self.found: Answers | BaseException | None = None

    def prepared(self, found: Inputs | BaseException) -> None:
        """Its rows, or why it has none."""
        if isinstance(found, BaseException):
            self.found = self.content.renamed(found)
            self.road.answered([self])
        else:
            self.asked.rows = found
            self.road.ask(self)

    def done(self) -> bool:
        """Whether it was told."""
        return self.found is not None

    def set_result(self, answers: Answers) -> None:
        """What the model says; the road answers all of a batch together."""
        self.found = answers
        self.road.told.append(self)

    def set_exception(self, error: BaseException) -> None:
        """There will be no answer."""
        self.found = error
        self.road.told.append(self)


class DirectRoad:
    """Of one pipeline."""

    def __init__(
        self,
        name: str,
        *,
        room: Admission,
        batcher: Batcher,
        replied: Callable[[Asked, Answers | BaseException], Reply],
        observe: Callable[[Asked], None],
        observer: Observer | None,
    ) -> None:
        """`replied`: makes and counts the reply to one request, and does not raise; `observe`: tells of one request;
        `observer`: is told of all that are answered together."""
        self._name, self._room, self._batcher, self._replied = name, room, batcher, replied
        self._observe, self._observer = observe, observer
        self._together = PreparedTogether()
        self.told: list[TakenOver] = []  # by the batcher, in the batch that it is at

    def take(
        self, asked: Asked, content: RequestContent, size: int, is_gone: Callable[[], bool],
        send: Callable[[Reply], None],
    ) -> None:  # fmt: skip
        """A request that was routed and read, with its rows where they are not prepared together with others'. `size`:
        bytes of its body."""
        assert asked.variant is not None, "it was routed"
        held = Held(self._room)
        held.take(size)
        held.wait()
        taken = TakenOver(self, asked, content, held, is_gone, send)
        if asked.rows is not None:
            self.ask(taken)
        else:
            self._together.ask(content.instances, asked.variant.predictor.signature, taken.prepared)

    def ask(self, taken: TakenOver) -> None:
        """The model, for a request that has its rows."""
        asked = taken.asked
        assert asked.variant is not None, "it was routed"
        assert asked.rows is not None, "they were prepared"
        self._batcher.ask(asked.variant.predictor, asked.rows, taken, is_gone=taken.is_gone)

    def settled(self, rows: Inputs | None, answers: Answers | None) -> None:
        """The batcher has told all of a batch; as `Settled` says."""
        if self.told:
            told, self.told = self.told, []
            self.answered(told, rows, answers)

    def answered(self, told: Sequence[TakenOver], rows: Inputs | None = None, answers: Answers | None = None) -> None:
        """Make the replies, tell who observes, and send them: what was answered is logged or counted before anybody has
        its answer."""
        replies = []
        for one in told:
            assert one.found is not None, "it was told"
            replies.append(self._replied(one.asked, one.found))
            one.held.give_back()
        if self._observer is not None:
            self._tell(told, rows, answers)
        for one, reply in zip(told, replies, strict=True):
            one.send(reply)

    def _tell(self, told: Sequence[TakenOver], rows: Inputs | None, answers: Answers | None) -> None:
        """Who observes: of those that have an answer together, where one variant answered them and they are not few."""
        variant = told[0].asked.variant
        whole = [one.asked for one in told if one.asked.status == OK and one.asked.variant is variant]
        together = None
        if len(whole) >= LEAST:
            try:
                together = self._of(whole, rows, answers)
            except Exception:
                logger.exception("%s: %d requests are told of one by one", self._name, len(whole))
        for one in told:
            if together is None or one.asked.status != OK or one.asked.variant is not variant:
                self._observe(one.asked)
        if together is not None and self._observer is not None:
            try:
                self._observer.answered_together(together)
            except Exception:
                logger.exception("%s: %d requests are kept by nobody", self._name, len(whole))

    def _of(self, whole: Sequence[Asked], rows: Inputs | None, answers: Answers | None) -> AnsweredTogether:
        """`rows` and `answers` as `settled` has them: of these requests alone, where they are as many."""
        now_s, first = time.perf_counter(), whole[0]
        assert first.variant is not None, "it was answered"
        predictor = first.variant.predictor
        counts = [len(one.rows) for one in whole if one.rows is not None]
        found = [one.answers for one in whole if one.answers is not None]
        if rows is None or answers is None or len(rows) != sum(counts):
            rows = Inputs.concat([one.rows for one in whole if one.rows is not None])
            output = found[0].output if len(found) == 1 else np.concatenate([one.output for one in found])
        else:
            output = answers.output
        have_keys = any(CLIENT_KEY in one.headers for one in whole)
        return AnsweredTogether(
            pipeline=self._name,
            version=predictor.version,
            generation=predictor.generation,
            variant=first.variant.name,
            rows=rows,
            output=output,
            counts=counts,
            request_ids=[one.request_id for one in whole],
            received_s=[one.received_s for one in whole],
            latency_ms=[(now_s - one.began) * 1e3 for one in whole],
            client_keys=[one.client_key for one in whole] if have_keys else None,
            replayed=[REPLAYED in one.headers for one in whole],
            instances=[one.instances for one in whole],
            predictions=[one.predictions for one in found],
            written=[one.written for one in whole],
            said=[one.said for one in whole],
        )
