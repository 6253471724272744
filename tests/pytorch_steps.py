"""Writes pytorch_steps.csv, a hundred steps of PyTorch's rules on one parameter, by PyTorch itself.

python tests/pytorch_steps.py > tests/pytorch_steps.csv    # with the extra [bench]

The file is kept because PyTorch is too large to be installed for the tests.
"""

import csv
import sys

import numpy as np
import torch
from torch import optim

RULES = {
    "gradient_descent": lambda w: optim.SGD(w, 0.1),
    "momentum": lambda w: optim.SGD(w, 0.1, momentum=0.9),
    "nesterov": lambda w: optim.SGD(w, 0.1, momentum=0.9, nesterov=True),
    "rmsprop": lambda w: optim.RMSprop(w, 0.01, alpha=0.99, eps=1e-8),
    "adam": lambda w: optim.Adam(w, 0.01, betas=(0.9, 0.999), eps=1e-8),
    "rprop": lambda w: optim.Rprop(w, 0.01, etas=(0.5, 1.2), step_sizes=(1e-6, 50.0)),
}


def steps(rule, gradients):
    """The parameter, first 0, after each gradient."""
    w = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = rule([w])
    for g in gradients:
        w.grad = torch.tensor([g], dtype=torch.float64)
        optimizer.step()
        yield w.item()


if __name__ == "__main__":
    gradients = np.random.RandomState(3).standard_normal(100).tolist()
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(["gradient", *RULES])
    out.writerows(zip(gradients, *(steps(r, gradients) for r in RULES.values()), strict=True))
