"""Settings that all tests share: one thread, and the same examples in every run, so that failures repeat."""

import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("repeatable", derandomize=True, database=None)
settings.load_profile("repeatable")
