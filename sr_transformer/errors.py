"""The exceptions and warnings that a user can meet and act on, and how they show a value."""

from __future__ import annotations


class SRTransformerError(Exception):
    """Base class of every error that this package raises on purpose."""


class ExpressionError(SRTransformerError, ValueError):
    """A formula is malformed: unknown symbol, wrong arity, unreadable text."""


class EngineUnavailableError(SRTransformerError, RuntimeError):
    """The search engine that was asked for by name cannot run on this machine."""


class CheckpointError(SRTransformerError, ValueError):
    """A checkpoint is missing, damaged or made for another format."""


class UnknownRowError(SRTransformerError, IndexError):
    """There is no such row of ``equations_``."""


class EngineFallbackWarning(UserWarning):
    """``search="auto"`` found no usable PySR: Operon searches, or the Transformer answers alone."""


class SearchInterruptedWarning(UserWarning):
    """A search ended early; the best front found so far is returned."""


class DamagedStateWarning(UserWarning):
    """The newest state of a training run is damaged; the run goes on from the one before it."""


_LONGEST = 60  # characters of a value in a message


def shown(value: object) -> str:
    """A value as a message shows it: in one line that is not too long, whatever it is."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # of a whole number of more than 4,300 digits, say
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
