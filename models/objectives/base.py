"""What kinds of task there are."""

from __future__ import annotations

from typing import Literal

Task = Literal["classification", "regression", "multi_label", "ranking"]
