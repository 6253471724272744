"""The settings that only number replicates: runs that differ in nothing else are one combination.

>>> is_replicate_key("seed"), is_replicate_key("lr")
(True, False)
"""

OWN_SEEDS = ("model.init_seed", "order_seed", "optimizer.step_init_seed")
"""Dotted keys that seed one source of variation each; null: ``seed`` does."""
SPLIT_KEYS = ("data.split_seed", "data.fold")
"""Dotted keys that choose the split of the data."""
REPLICATE_KEYS = (*SPLIT_KEYS, *OWN_SEEDS, "seed")
"""Dotted keys. Rankings and reports take medians or means over their values, and never choose among
them."""


def is_replicate_key(key: str) -> bool:
    """Whether a dotted key only numbers replicates."""
    return key in REPLICATE_KEYS
