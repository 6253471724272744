"""Training many runs side by side: what is trained, and the two engines that train it."""
