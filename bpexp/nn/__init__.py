"""The mathematics of backpropagation: networks, activations, losses and optimizers."""
