"""The number of threads of BLAS and PyTorch is limited, and the kernels are named."""

import numpy as np
import torch
from threadpoolctl import ThreadpoolController

from gym_loop.nn.threads import kernels_in_use, limit_threads


def blas_threads() -> set[int]:
    pools = ThreadpoolController().select(user_api="blas")
    return {pool["num_threads"] for pool in pools.info()}


def test_limits_blas_and_torch() -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    for limit in (2, 1):
        limit_threads(limit)
        assert blas_threads() == {limit}
        assert torch.get_num_threads() == limit
    limit_threads(None)
    assert blas_threads() == {1}


def test_names_the_kernels_of_this_process() -> None:
    pools = ThreadpoolController().select(user_api="blas").info()
    known = {f"{one['internal_api']} {one['version']} {one.get('architecture')}" for one in pools}
    assert kernels_in_use() in known | {None}
