from sr_transformer.engines.base import resolve_engine

__all__ = ["resolve_engine"]
