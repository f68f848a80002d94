"""From a model to machine code, and from patients to trajectories."""
