"""The network: tokens, the Transformer itself, and its checkpoints."""
