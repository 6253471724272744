"""The settings that only number replicates: runs that differ in nothing else are one setting.

>>> is_replicate_key("seed"), is_replicate_key("lr")
(True, False)
"""

REPLICATE_KEYS = ("data.split_seed", "data.fold", "seed")
"""Dotted keys. Rankings and reports take medians over their values and never choose among them."""


def is_replicate_key(key: str) -> bool:
    """Whether a dotted key only numbers replicates."""
    return key in REPLICATE_KEYS
