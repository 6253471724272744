"""From a list of configurations to tracked results."""
