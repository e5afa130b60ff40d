import math

import pytest
import torch

from anchorbench.models import nets

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("bias", [True, False])
def test_linear_equals_torch_and_has_its_gradients(bias):
    g = torch.Generator().manual_seed(0)
    x, w = torch.randn(3, 9, 5, generator=g), torch.randn(3, 7, 5, generator=g)
    b = torch.randn(3, 7, generator=g) if bias else None
    tensors = [t.double().requires_grad_() for t in (x, w, b) if t is not None]
    out = nets.linear(*tensors)
    for r in range(3):
        expected = torch.nn.functional.linear(*(t[r] for t in tensors))
        torch.testing.assert_close(out[r], expected)
    assert torch.autograd.gradcheck(nets.linear, tensors)


@pytest.mark.parametrize(("n_in", "n_out"), [(7, 50), (50, 5), (17, 9), (11, 3), (1, 50), (50, 1)])
def test_a_slice_of_a_stacked_product_has_the_bits_of_the_product_alone(n_in, n_out):
    g = torch.Generator().manual_seed(1)
    x = torch.randn(25, 112, n_in, generator=g)
    w = nets.aligned_empty(25, n_out, n_in, x).copy_(torch.randn(25, n_out, n_in, generator=g))
    upstream = torch.randn(25, 112, n_out, generator=g)

    def products(rows):
        own = nets.aligned_empty(len(w[rows]), n_out, n_in, x).copy_(w[rows]).requires_grad_()
        inputs = x[rows].clone().requires_grad_()
        out = nets.linear(inputs, own)
        return out, *torch.autograd.grad(out, [inputs, own], upstream[rows].clone())

    stacked = products(slice(0, 25))
    for rows in [slice(r, r + 1) for r in range(25)] + [slice(3, 9), slice(20, 25)]:
        for whole, part in zip(stacked, products(rows), strict=True):
            assert torch.equal(whole[rows], part)


def test_aligned_empty_begins_every_slice_on_the_boundary():
    t = nets.aligned_empty(4, 5, 7, torch.zeros(1))
    assert t.shape == (4, 5, 7)
    assert all(t[r].data_ptr() % 64 == 0 for r in range(4))


def test_initial_layers_follow_pytorchs_default():
    g = torch.Generator().manual_seed(0)
    weight, bias = nets.linear_init(g, 400, 100)
    for values in (weight, bias):
        assert values.abs().max() <= 0.1
        assert values.abs().max() > 0.099
    assert abs(weight.std().item() - 0.1 / math.sqrt(3)) < 1e-3


def test_the_sparse_decoders_parameter_count_is_the_papers():
    # Linear(5, 50) without bias, Linear(50, 50), seven heads Linear(50, 1).
    parameters = nets.decoder_init(torch.Generator(), 5, 50, 7)
    assert sum(t.numel() for t in parameters.values()) == 250 + 2550 + 7 * 51
    assert {name: tuple(t.shape) for name, t in parameters.items()} == {
        "H1": (50, 5), "H2": (50, 50), "b2": (50,), "heads": (7, 50), "head_bias": (7,)
    }  # fmt: skip


def test_encoder_equals_the_same_layers_in_torch():
    g = torch.Generator().manual_seed(2)
    p = nets.encoder_init(g, 6, 8, {"mean": 3})
    x = torch.randn(5, 6, generator=g)
    linear = torch.nn.functional.linear
    h = torch.relu(linear(x, p["encoder1_weight"], p["encoder1_bias"]))
    h = torch.relu(linear(h, p["encoder2_weight"], p["encoder2_bias"]))
    state = type("State", (), {name: t[None] for name, t in p.items()})
    torch.testing.assert_close(nets.encoder_hidden(state, x[None])[0], h)
    assert p["mean_weight"].shape == (3, 8)
