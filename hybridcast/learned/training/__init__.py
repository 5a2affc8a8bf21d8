"""Training of models: samples drawn from events and kept on disk, cross-validation, weights, and the final members."""
