"""The declaration of a setting: its rule, its default and its description."""
