"""Who is compared. Each module's ``prepare(runs)`` returns a call that trains all runs and
returns their final losses, (runs,), or None where another model is trained. The two that
are compared to the bit return a call instead that gives, after the clock has stopped, a
tuple: final losses, all losses (epochs, runs), weights.

What a contestant loads and compiles, it does in ``prepare`` or in the first call.
"""
