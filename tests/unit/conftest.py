"""Fixtures of several rooms."""

from __future__ import annotations

from tests.unit.audit.conftest import world

__all__ = ["world"]
