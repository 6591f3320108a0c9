"""What the model is taught: random formulas, random tables, noise, an endless stream of both."""

from sr_transformer.prior.stream import Example, ExampleStream, PriorConfig

__all__ = ["Example", "ExampleStream", "PriorConfig"]
