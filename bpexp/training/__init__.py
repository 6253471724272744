"""Trains batches of networks: training loop, early stopping, and the two engines that compute.

A *batch* is a batch of runs that are trained together. The samples of one update, of which there
are ``batch_size``, are a *mini-batch*.

``loop.train_batch`` trains configurations together; ``batching.group_runs`` groups the
configurations of a sweep into batches. The NumPy engine is the reference; the compiled engine in
``llvm/`` returns bit-identical results faster.
"""
