"""What is tried next: Keras Tuner's oracles and other tuners behind one protocol."""
