"""The learned stage: probabilities by boosting, a small network, and the model on disk that holds them."""
