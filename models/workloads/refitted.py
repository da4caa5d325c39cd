"""A parent's weights over another fitted state of the preparation: codes by what they stand for, numbers by scale.

A value that is new has the row that the parent had for unknown ones, and what a wider layer adds begins at zero: before
its first step the model answers as the parent did, but for values that have lost their code, and numbers that are cut.

Shape legend: K codes, D width of a table, O outputs and I inputs of a layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from mlratchet.models.errors import DataError
from mlratchet.models.networks.joints import Entrances, Joint, NumberTokens, Segment, Table, entrances_of
from mlratchet.models.preparation.meaning import Meaning
from mlratchet.models.sources.record import ExampleSpec
from mlratchet.models.workloads.base import CarriedOver, Workload
from mlratchet.models.workloads.examples import Preparer
from torch import nn

State = Mapping[str, torch.Tensor]
Meanings = Mapping[str, Sequence[Meaning]]  # by tensor, in the order of its columns


@dataclass(frozen=True, kw_only=True)
class Refitting:
    """From what the parent's preparation was fitted to, to ours."""

    ours: Meanings
    theirs: Meanings
    entrances: Entrances

    def __post_init__(self) -> None:
        """Raises ``DataError`` for a parent of other fields, or of values that mean something else, nobody knows
        what."""
        for tensor in dict.fromkeys([*self.ours, *self.theirs]):
            ours, theirs = ([one.name for one in side.get(tensor, ())] for side in (self.ours, self.theirs))
            if ours != theirs:
                other = sorted({*ours} ^ {*theirs}) or ours
                raise DataError(f"the parent was prepared with other fields ({', '.join(other[:5])})")
            for now, then in zip(self.ours.get(tensor, ()), self.theirs.get(tensor, ()), strict=True):
                if now.form != then.form and not (now.codes or now.scale or then.codes or then.scale):
                    raise DataError(
                        f"the parent's {now.name} was prepared by other code or fitted to other rows, and how its "
                        "values relate to ours is not known"
                    )

    def carried(self, parent: State, fresh: State) -> CarriedOver:
        """`fresh`: the state of this model, whose values stand where the parent has none."""
        found = CarriedOver(tensors=dict(parent), changed=set())
        for table in self.entrances.tables:
            self._table(table, parent, fresh, found)
        for joint in self.entrances.joints:
            self._joint(joint, parent, fresh, found)
        for tokens in self.entrances.tokens:
            self._tokens(tokens, parent, found)
        return found

    def _table(self, table: Table, parent: State, fresh: State, found: CarriedOver) -> None:
        """(K, D) by code; what D has more is fresh."""
        old, new = parent.get(table.weight), fresh.get(table.weight)
        if old is None or new is None or old.ndim != new.ndim:
            return
        ours, theirs = self.ours[table.tensor][table.column], self.theirs[table.tensor][table.column]
        if ours == theirs:
            return
        if ours.form != theirs.form or not ours.codes or len(theirs.codes) != len(old):
            del found.tensors[table.weight]  # nobody knows what a row of it stands for
            return
        at = {code: row for row, code in enumerate(theirs.codes)}
        rows = [at.get(code, theirs.unknown if theirs.unknown is not None else -1) for code in ours.codes]
        made, width = new.detach().cpu().clone(), min(old.shape[1], new.shape[1])
        known = torch.tensor([row >= 0 for row in rows])
        made[known, :width] = old[torch.tensor(rows)[known], :width].to(made.dtype)
        found.tensors[table.weight] = made
        found.changed.add(table.weight)

    def _joint(self, joint: Joint, parent: State, fresh: State, found: CarriedOver) -> None:
        """(O, I) segment by segment, and the bias: the scales of numbers are folded into both."""
        weight, bias = f"{joint.layer}.weight", f"{joint.layer}.bias"
        old, new, old_bias = parent.get(weight), fresh.get(weight), parent.get(bias)
        if old is None or new is None or old_bias is None or len(old) != len(new):
            return
        widths = [(one.width, self._width_then(one, parent)) for one in joint.segments]
        if sum(then for _, then in widths) != old.shape[1] or sum(now for now, _ in widths) != new.shape[1]:
            found.tensors.pop(weight)
            return
        made = torch.zeros(new.shape, dtype=torch.float64)
        added = old_bias.double().clone()
        here = there = 0
        for segment, (now, then) in zip(joint.segments, widths, strict=True):
            piece = old[:, there : there + then].double()
            if segment.numbers is not None:
                piece, more = self._scaled(piece, segment.numbers)
                added += more
            shared = min(now, then)
            made[:, here : here + shared] = piece[:, :shared]
            here, there = here + now, there + then
        if not torch.equal(made.to(old.dtype), old) or not torch.equal(added.to(old.dtype), old_bias):
            found.changed.update({weight, bias})
        found.tensors[weight], found.tensors[bias] = made.to(old.dtype), added.to(old.dtype)

    @staticmethod
    def _width_then(segment: Segment, parent: State) -> int:
        table = parent.get(segment.table) if segment.table is not None else None
        return int(table.shape[1]) if table is not None else segment.width

    def _scaled(self, piece_OF: torch.Tensor, tensor: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights of numbers on our scale (O, F), and what the bias has more (O,)."""
        ours, theirs = self.ours[tensor], self.theirs[tensor]
        made, more = piece_OF.clone(), torch.zeros(len(piece_OF), dtype=piece_OF.dtype)
        places = {one.name: at for at, one in enumerate(ours)}
        for at, (now, then) in enumerate(zip(ours, theirs, strict=True)):
            factor, offset = between(now, then)
            made[:, at] = piece_OF[:, at] * factor
            more += piece_OF[:, at] * offset
        for at, (now, then) in enumerate(zip(ours, theirs, strict=True)):
            if now.gap is None or then.gap is None or now.indicator not in places:
                continue
            factor, offset = between(now, then)  # the indicator makes up for another filling
            made[:, places[now.indicator]] += piece_OF[:, at] * (then.gap - (now.gap * factor + offset))
        return made, more

    def _tokens(self, tokens: NumberTokens, parent: State, found: CarriedOver) -> None:
        """Scale and shift (F, D) of a token per number."""
        scale, shift = parent.get(tokens.scale), parent.get(tokens.shift)
        ours, theirs = self.ours[tokens.tensor], self.theirs[tokens.tensor]
        if scale is None or shift is None or len(scale) != len(ours) or list(ours) == list(theirs):
            return
        pairs = [between(now, then) for now, then in zip(ours, theirs, strict=True)]
        factor, offset = (torch.tensor(side, dtype=torch.float64)[:, None] for side in zip(*pairs, strict=True))
        found.tensors[tokens.scale] = (scale.double() * factor).to(scale.dtype)
        found.tensors[tokens.shift] = (shift.double() + scale.double() * offset).to(shift.dtype)
        found.changed.update({tokens.scale, tokens.shift})


def refitting(workload: Workload, module: nn.Module, parent: Mapping[str, str]) -> Refitting | None:
    """`parent`: schema, preparation and fitted state of the parent, as in `ExampleSpec`. None where it was prepared
    as this model is. Raises ``DataError`` where nobody can say what becomes of its weights."""
    ours = workload.input_spec().example
    if ours is None or parent["fitted"] == ours.fitted:
        return None
    entrances = entrances_of(module)
    if entrances is None:
        raise DataError(
            "the parent's preparation was fitted to other rows, and where its codes and numbers enter a "
            "network of your own is not known; write train.warm_start: none"
        )
    return Refitting(ours=_meanings(asdict(ours)), theirs=_meanings(parent), entrances=entrances)


def _meanings(about: Mapping[str, str]) -> Meanings:
    preparer = Preparer(ExampleSpec(**about))
    return preparer.plan.meanings_of_tensors(preparer.state)


def between(now: Meaning, then: Meaning) -> tuple[float, float]:
    """(a, b): what was v then is a v + b of what it is now; as it is, where nothing is known."""
    if now.scale is None or then.scale is None or now.form != then.form or now.scale == then.scale:
        return 1.0, 0.0
    (center, spread), (their_center, their_spread) = now.scale, then.scale
    if math.isinf(their_spread):
        return 0.0, 0.0
    return (0.0 if math.isinf(spread) else spread / their_spread), (center - their_center) / their_spread
