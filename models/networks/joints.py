"""Where the tensors of an example enter a network: tables that hold a row per code, and layers on encoders' features.

It is what carries weights over to another fitted state of the preparation: `models/training/refitted.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlratchet.models.networks.encoders import Categories, Encoder, Numbers, Steps, TokenBag
from mlratchet.models.networks.recommender import Dlrm, MatrixFactorisation, TwoTowers
from mlratchet.models.networks.trunks import Alone, FeatureTransformer, Network
from torch import nn


@dataclass(frozen=True, kw_only=True)
class Table:
    """An embedding: its rows are the codes of one column of a tensor."""

    weight: str  # name of the parameter
    tensor: str
    column: int = 0


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Neighbouring inputs of a layer."""

    width: int
    table: str | None = None  # the weight of the table whose rows they are
    numbers: str | None = None  # the tensor of numbers whose columns they are


@dataclass(frozen=True, kw_only=True)
class Joint:
    """A linear layer on the features of encoders."""

    layer: str  # name of the module
    segments: tuple[Segment, ...]


@dataclass(frozen=True, kw_only=True)
class NumberTokens:
    """A token per number: number x scale + shift, a row of each per column."""

    scale: str
    shift: str
    tensor: str


@dataclass(frozen=True, kw_only=True)
class Entrances:
    """Of a network."""

    tables: tuple[Table, ...]
    joints: tuple[Joint, ...]
    tokens: tuple[NumberTokens, ...] = ()


def entrances_of(module: nn.Module) -> Entrances | None:
    """Of one of ours; None of a network of the user's own, whose layers nobody knows."""
    network, mark = (module.network, "network.") if isinstance(module, Alone) else (module, "")
    if isinstance(network, Network):
        encoders = _children(network.encoders)
        first = "head" if not len(list(network.trunk.children())) else "trunk.0"
        joint = Joint(layer=f"{mark}{first}", segments=_segments(encoders, f"{mark}encoders"))
        return Entrances(tables=_tables(encoders, f"{mark}encoders"), joints=(joint,))
    if isinstance(network, FeatureTransformer):
        return _of_tokens(network, mark)
    if isinstance(network, MatrixFactorisation):
        return Entrances(tables=_entities(network.names, mark), joints=())
    if isinstance(network, TwoTowers):
        return _of_towers(network, mark)
    if isinstance(network, Dlrm):
        others = _children(network.others)
        tables = (*_entities(network.names, mark, biases=False), *_tables(others, f"{mark}others"))
        return Entrances(tables=tables, joints=_entering(others, mark))
    return None


def _children(modules: nn.Module) -> list[Encoder]:
    return [one for one in modules.children() if isinstance(one, Encoder)]


def _tables(encoders: Sequence[Encoder], mark: str) -> tuple[Table, ...]:
    found = []
    for at, one in enumerate(encoders):
        place, tensor = f"{mark}.{at}", one.tensors[0]
        if isinstance(one, Categories):
            columns = range(len(one.tables))
            found += [Table(weight=f"{place}.tables.{i}.weight", tensor=tensor, column=i) for i in columns]
        elif isinstance(one, TokenBag):
            found.append(Table(weight=f"{place}.table.weight", tensor=tensor))
        elif isinstance(one, Steps) and isinstance(one.enter, nn.Embedding):
            found.append(Table(weight=f"{place}.enter.weight", tensor=tensor))
    return tuple(found)


def _segments(encoders: Sequence[Encoder], mark: str, *, first: int = 0) -> tuple[Segment, ...]:
    """Of the encoders that are in the list `mark` from place `first` on."""
    found = []
    for at, one in enumerate(encoders, first):
        if isinstance(one, Categories):
            widths = [table.embedding_dim for table in one.tables.children() if isinstance(table, nn.Embedding)]
            found += [Segment(width=w, table=f"{mark}.{at}.tables.{i}.weight") for i, w in enumerate(widths)]
        else:
            numbers = one.tensors[0] if isinstance(one, Numbers) else None
            found.append(Segment(width=one.width, numbers=numbers))
    return tuple(found)


def _entering(others: Sequence[Encoder], mark: str) -> tuple[Joint, ...]:
    """Of encoders that have a layer each, `enter`."""
    return tuple(
        Joint(layer=f"{mark}enter.{at}", segments=_segments([one], f"{mark}others", first=at))
        for at, one in enumerate(others)
    )


def _entities(names: Sequence[str], mark: str, *, biases: bool = True) -> tuple[Table, ...]:
    kinds = ("vectors", "biases") if biases else ("vectors",)
    return tuple(
        Table(weight=f"{mark}{kind}.{at}.weight", tensor=name) for kind in kinds for at, name in enumerate(names)
    )


def _of_towers(network: TwoTowers, mark: str) -> Entrances:
    tables, joints = list(_entities(network.names, mark)), []
    for at, side in enumerate(network.known.children()):
        encoders, place = _children(side), f"{mark}known.{at}"
        tables += _tables(encoders, place)
        own = network.vectors[at]
        assert isinstance(own, nn.Embedding)
        segments = (Segment(width=own.embedding_dim), *_segments(encoders, place))
        joints.append(Joint(layer=f"{mark}towers.{at}.0.0", segments=segments))
    return Entrances(tables=tuple(tables), joints=tuple(joints))


def _of_tokens(network: FeatureTransformer, mark: str) -> Entrances:
    others = _children(network.others)
    tables = _tables(others, f"{mark}others")
    if network.categories is not None:
        own = range(len(network.tables))
        tables += tuple(Table(weight=f"{mark}tables.{i}.weight", tensor=network.categories, column=i) for i in own)
    tokens: tuple[NumberTokens, ...] = ()
    if network.numbers is not None:
        tokens = (NumberTokens(scale=f"{mark}scale_FD", shift=f"{mark}shift_FD", tensor=network.numbers),)
    return Entrances(tables=tables, joints=_entering(others, mark), tokens=tokens)
