"""Loaded before tests/conftest.py, whose imports (torch, Prefect, MLflow) take a third longer with a busy collector."""

from __future__ import annotations

from mlratchet.infra.machine.interpreter import collect_seldom

collect_seldom()
