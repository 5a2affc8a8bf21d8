"""Learned members and the weights of their blend: evaluation, storage as a trained model, and training."""
