"""Activations, bias, softmax, cross entropies and other neural network ops: definitions."""
