"""The fast decoders against the paper's loop."""

import pytest
import torch

from anchorbench.kernels import batched_decoder, masked_decoder, naive_decoder


def arguments(R, B, G, K, H, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(R, B, K), (R, G, K), (R, H, K), (R, H, H), (R, H), (R, G, H), (R, G)]
    return [
        torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes
    ]


@pytest.mark.parametrize("decoder", [batched_decoder, masked_decoder])
@pytest.mark.parametrize("shape", [(1, 3, 2, 2, 4), (2, 5, 7, 3, 6), (3, 17, 11, 5, 9)])
def test_values_and_gradients_equal_the_loop(decoder, shape):
    given = arguments(*shape)
    expected, actual = naive_decoder(*given), decoder(*given)
    weight = torch.randn_like(expected)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)
    expected_grads = torch.autograd.grad((weight * expected).sum(), given)
    actual_grads = torch.autograd.grad((weight * actual).sum(), given)
    torch.testing.assert_close(actual_grads, expected_grads, rtol=1e-10, atol=1e-10)
