"""Programs that run a tracked sweep with other tools, as their documentation shows it."""
