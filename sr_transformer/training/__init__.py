"""Training and evaluation of the network."""
