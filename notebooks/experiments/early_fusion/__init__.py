"""Early fusion: one network with attention to all sources at once, compared with the late fusion of the package."""
