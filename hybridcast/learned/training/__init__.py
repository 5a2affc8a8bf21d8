"""Training of models: samples drawn from events, their store on disk, the members and the weights of their blend."""
