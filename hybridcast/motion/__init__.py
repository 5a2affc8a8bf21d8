"""Motion of the precipitation field: optical flow, and wind from a model where there is no echo."""
