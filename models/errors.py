"""The errors a user can meet, each with the exit code of its kind.

Every message says what, where, got, expected and the next step, on one line.
"""

from __future__ import annotations


class RatchetError(Exception):
    """Base of every error that is reported as one line and never as a traceback."""

    code = "RATCHET"
    exit_code = 1

    def line(self) -> str:
        """The message as it is printed: ``CODE: what, where, got / expected, fix``."""
        return f"{self.code}: {self}"


class ConfigurationError(RatchetError):
    """A pipeline file, an option or a setting is wrong."""

    code = "CONFIG"
    exit_code = 2


class DataError(RatchetError):
    """The data of a run cannot be used."""

    code = "DATA"
    exit_code = 3


class GateRefusedError(RatchetError):
    """A gate did not pass; nothing was moved."""

    code = "GATE"
    exit_code = 4


class InfrastructureError(RatchetError):
    """A server or the machine failed."""

    code = "INFRA"
    exit_code = 5


class SecurityError(RatchetError):
    """Bytes are not what a digest says, or a name tries to escape its place."""

    code = "SECURITY"
    exit_code = 6
