"""Settings that all tests share: one thread, so that timings and random states repeat."""

import torch

torch.set_num_threads(1)
