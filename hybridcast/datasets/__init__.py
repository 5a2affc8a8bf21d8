"""Real and simulated data: the registry of data sets, events, archives, pseudo-NWP and pseudo-gauges."""
