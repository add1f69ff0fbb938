"""Activations, bias, softmax, cross entropies and other neural network ops: the user's functions."""
