import numpy as np
import torch
from threadpoolctl import ThreadpoolController

from gym_loop.threads import limit_threads


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
