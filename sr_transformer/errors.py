"""The exceptions and warnings that a user can meet and act on."""

from __future__ import annotations


class SRTransformerError(Exception):
    """Base class of every error that this package raises on purpose."""


class ExpressionError(SRTransformerError, ValueError):
    """A formula is malformed: unknown symbol, wrong arity, unreadable text."""


class EngineUnavailableError(SRTransformerError, RuntimeError):
    """The search engine that was asked for by name cannot run on this machine."""


class CheckpointError(SRTransformerError, ValueError):
    """A checkpoint is missing, damaged or made for another format."""


class EngineFallbackWarning(UserWarning):
    """``search="auto"`` found no usable PySR: Operon searches, or the Transformer answers alone."""


class SearchInterruptedWarning(UserWarning):
    """A search ended early; the best front found so far is returned."""


class DamagedStateWarning(UserWarning):
    """The newest state of a training run is damaged; the run goes on from the one before it."""
