"""Late fusion: members of a trained model evaluated on a sampling grid, blended, and turned into one sharp field."""
