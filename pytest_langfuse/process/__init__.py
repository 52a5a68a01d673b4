"""Applications in subprocesses: start them, watch them, name the observations they lost, and end them."""
