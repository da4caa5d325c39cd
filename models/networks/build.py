"""One network for the tensors of an example: an encoder per field, and the trunk that a pipeline file names.

`model` says how the whole is built; a field's own encoder can be named beside it. Sizes are small defaults that a
CPU trains.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mlratchet.models.config import StrictModel
from mlratchet.models.networks.encoders import Categories, Encoder, Numbers, Steps, TokenBag
from mlratchet.models.networks.pictures import PICTURES, picture_encoder
from mlratchet.models.networks.recommender import RECOMMENDERS, Dlrm, MatrixFactorisation, TwoTowers
from mlratchet.models.networks.trunks import FeatureTransformer, Network, mlp, table_resnet
from pydantic import Field
from torch import nn

Kind = Literal["numbers", "categories", "tokens", "steps", "picture", "entity"]
TABLES = ("mlp", "resnet", "ft_transformer")
SEQUENCES = ("bag", "cnn", "transformer", "conformer")


@dataclass(frozen=True, kw_only=True)
class NetworkInput:
    """One tensor of an example, as a network has to know it."""

    name: str
    kind: Kind
    shape: tuple[int, ...] = ()  # without rows and steps: (F,), (K, H, W), (features,)
    codes: tuple[int, ...] = ()  # how many there are, of each column; of tokens and entities one number
    side: str = ""  # of a recommender: the entity that it tells of


class NetworkOptions(StrictModel):
    """What a pipeline file says of the network."""

    model: Literal["auto", "mlp", "resnet", "ft_transformer", "matrix_factorisation", "two_towers", "dlrm"] = "auto"
    """The trunk on all fields' features. auto: `two_towers` for two entities and one number to predict, else `mlp`."""
    encoders: dict[str, str] = Field(default_factory=dict)
    """Field -> bag, cnn, transformer, conformer (text, sounds, letters); cnn, resnet18, vit_tiny (pictures)."""
    hidden: tuple[int, ...] = Field(default=(128, 64), strict=False)
    """Widths of the trunk's layers."""
    width: int = Field(default=64, ge=4, le=1024)
    """Of embeddings of tokens and entities, and of the steps of sequences."""
    depth: int = Field(default=2, ge=1, le=24)
    """Blocks of a sequence's encoder, of `resnet` and `ft_transformer`."""
    picture_width: int = Field(default=24, ge=4, le=256)
    """Channels of the first stage of a picture's `cnn`; each stage has twice as many as the one before."""
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    kernel: int = Field(default=5, ge=1, le=31)
    """Steps that one convolution sees; odd."""


def build_network(features: Sequence[NetworkInput], options: NetworkOptions, outputs: int) -> nn.Module:
    """A fresh network: named tensors to (B, outputs). Raises ``ValueError`` saying what does not fit."""
    if not features:
        raise ValueError("there is no field to predict from")
    unknown = sorted(set(options.encoders) - {one.name for one in features})
    if unknown:
        raise ValueError(f"encoders: no field {unknown[0]!r}; there are {', '.join(one.name for one in features)}")
    if options.kernel % 2 == 0:
        raise ValueError(f"kernel must be odd, got {options.kernel}")
    entities = {one.name: one.codes[0] for one in features if one.kind == "entity"}
    model = options.model
    if model == "auto":
        model = "two_towers" if len(entities) == 2 and outputs == 1 else "mlp"
    if model in RECOMMENDERS:
        return _recommender(model, features, entities, options, outputs)
    if model == "ft_transformer":
        return _feature_transformer(features, options, outputs)
    encoders = [encoder_of(one, options) for one in features]
    width = sum(one.width for one in encoders)
    if model == "resnet":
        last = options.hidden[0]
        return Network(encoders, table_resnet(width, last, options.depth, options.dropout), last, outputs)
    trunk, last = mlp(width, options.hidden, options.dropout)
    return Network(encoders, trunk, last, outputs)


def encoder_of(feature: NetworkInput, options: NetworkOptions) -> Encoder:
    """Of one tensor. Raises ``ValueError`` for an encoder that does not fit it."""
    asked = options.encoders.get(feature.name)
    if feature.kind == "picture":
        return picture_encoder(
            feature.name, asked or "cnn", feature.shape, width=options.picture_width, dropout=options.dropout
        )
    if feature.kind in ("tokens", "steps"):
        kind = asked or ("bag" if feature.kind == "tokens" else "cnn")
        if kind not in SEQUENCES or (kind == "bag" and feature.kind == "steps"):
            fitting = SEQUENCES if feature.kind == "tokens" else SEQUENCES[1:]
            raise ValueError(f"encoders.{feature.name}: got {kind!r}, expected one of {', '.join(fitting)}")
        if kind == "bag":
            return TokenBag(feature.name, feature.codes[0], width=options.width, dropout=options.dropout)
        return Steps(
            feature.name,
            kind=kind,
            codes=feature.codes[0] if feature.kind == "tokens" else None,
            features=feature.shape[0] if feature.kind == "steps" else None,
            width=options.width,
            depth=options.depth,
            heads=4,
            kernel=options.kernel,
            dropout=options.dropout,
        )
    if asked is not None:
        raise ValueError(f"encoders.{feature.name}: {feature.kind} have no encoder to choose")
    if feature.kind == "numbers":
        return Numbers(feature.name, math.prod(feature.shape))
    width = options.width if feature.kind == "entity" else None
    return Categories(feature.name, feature.codes, width=width)


def _recommender(
    model: str, features: Sequence[NetworkInput], entities: Mapping[str, int], options: NetworkOptions, outputs: int
) -> nn.Module:
    others = [one for one in features if one.kind != "entity"]
    if model != "dlrm" and outputs != 1:
        raise ValueError(f"model {model} gives one number, and {outputs} are to be predicted; write dlrm")
    if model == "matrix_factorisation":
        if others:
            raise ValueError(f"matrix_factorisation reads entities alone; drop {others[0].name}, or write two_towers")
        return MatrixFactorisation(entities, width=options.width, dropout=options.dropout)
    if not entities:
        raise ValueError(f"model {model} needs fields of kind entity, and there is none")
    if model == "dlrm":
        encoders = [encoder_of(one, options) for one in others]
        return Dlrm(
            entities, encoders, width=options.width, hidden=options.hidden[0], dropout=options.dropout, outputs=outputs
        )
    names = list(entities)
    sides = [[encoder_of(one, options) for one in others if one.side == name] for name in names]
    aside = [one.name for one in others if one.side not in names]
    if aside:
        raise ValueError(
            f"two_towers: {aside[0]} tells of neither {' nor '.join(names)}; say it (`side`), or write dlrm"
        )
    return TwoTowers(entities, sides, width=options.width, hidden=options.hidden[0], dropout=options.dropout)


def _feature_transformer(features: Sequence[NetworkInput], options: NetworkOptions, outputs: int) -> nn.Module:
    numbers = next((one for one in features if one.kind == "numbers" and len(one.shape) == 1), None)
    categories = next((one for one in features if one.kind == "categories"), None)
    width = max(4, options.width // 4 * 4)
    return FeatureTransformer(
        numbers=numbers.name if numbers else None,
        count=numbers.shape[0] if numbers else 0,
        categories=categories.name if categories else None,
        codes=categories.codes if categories else (),
        others=[encoder_of(one, options) for one in features if one not in (numbers, categories)],
        width=width,
        depth=options.depth,
        dropout=options.dropout,
        outputs=outputs,
    )


__all__ = ["PICTURES", "NetworkInput", "NetworkOptions", "build_network", "encoder_of"]
