"""What a person sees: the terminal, the figures, the sweep's summary."""
