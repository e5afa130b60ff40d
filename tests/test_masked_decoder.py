"""The fast decoders against the paper's loop."""

import threading

import numpy as np
import pytest
import torch
from deep_cases import untrained

from anchorbench.models import masked_decoder as decoders
from anchorbench.models import training
from anchorbench.models.masked_decoder import batched_decoder, masked_decoder, naive_decoder

SHAPES = [(1, 3, 2, 2, 4), (2, 5, 7, 3, 6), (3, 17, 11, 5, 9), (1, 1, 1, 1, 1), (4, 6, 13, 2, 5)]


@pytest.fixture(autouse=True)
def restore_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def arguments(R, B, G, K, H, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(R, B, K), (R, G, K), (R, H, K), (R, H, H), (R, H), (R, G, H), (R, G)]
    return [
        torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes
    ]


def value_and_gradients(decoder, given, weight):
    out = decoder(*given)
    return out.detach(), torch.autograd.grad((weight * out).sum(), given)


def weights(given):
    shape = (*given[0].shape[:2], given[1].shape[1])
    generator = torch.Generator().manual_seed(99)
    return torch.randn(shape, generator=generator, dtype=given[0].dtype)


def test_reference_is_the_formula_written_out():
    given = [a.detach() for a in arguments(1, 1, 1, 2, 2)]
    z, mask, H1, H2, b2, heads, head_bias = given
    first = [max(0.0, float(H1[0, h] @ (mask[0, 0] * z[0, 0]))) for h in range(2)]
    second = [
        max(0.0, float(H2[0, h, 0] * first[0] + H2[0, h, 1] * first[1] + b2[0, h]))
        for h in range(2)
    ]
    expected = sum(float(heads[0, 0, h]) * second[h] for h in range(2)) + float(head_bias[0, 0])
    actual = naive_decoder(*given).item()
    assert actual == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("threads", "keep"), [(1, 0.0), (1, 1.0), (2, 0.5)])
@pytest.mark.parametrize("tile", [1, 70, 400, 1 << 18])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_equal_the_loop(shape, tile, threads, keep, monkeypatch):
    """Tiles of one feature, of uneven widths, of several replicates, and of everything."""
    torch.set_num_threads(threads)
    monkeypatch.setattr(decoders, "KEEP", keep)
    monkeypatch.setattr(decoders, "CPU_TILE", tile)
    given = arguments(*shape)
    weight = weights(given)
    expected = value_and_gradients(naive_decoder, given, weight)
    for decoder in (batched_decoder, masked_decoder):
        actual = value_and_gradients(decoder, given, weight)
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("tile", [30, 1 << 18])
def test_gradients_equal_finite_differences(tile, monkeypatch):
    monkeypatch.setattr(decoders, "CPU_TILE", tile)
    assert torch.autograd.gradcheck(masked_decoder, arguments(2, 3, 5, 2, 4))


@pytest.mark.parametrize(
    "shape",
    [
        (100, 7, 5, 50),
        (128, 50, 20, 100),
        (64, 41, 15, 100),
        (100, 30, 30, 300),
        (33, 13, 3, 17),
        (110, 14, 2, 7),
        (1, 10, 16, 53),
        (115, 2, 3, 21),
    ],
)
def test_a_replicate_does_not_depend_on_its_neighbours(shape):
    """Bitwise, on one thread: also for shapes that share a tile among replicates."""
    torch.set_num_threads(1)
    given = arguments(25 if shape[1] == 7 else 3, *shape, dtype=torch.float32)
    weight = weights(given)
    out, gradients = value_and_gradients(masked_decoder, given, weight)
    for keep in ([0], [1, 2], [len(out) - 1]):
        fewer = [a[keep].detach().clone().requires_grad_() for a in given]
        alone, alone_gradients = value_and_gradients(masked_decoder, fewer, weight[keep])
        assert torch.equal(alone, out[keep])
        for a, b in zip(alone_gradients, gradients, strict=True):
            assert torch.equal(a, b[keep])


@pytest.mark.parametrize("tile", [60, 1 << 18])
def test_inference_equals_training(tile, monkeypatch):
    monkeypatch.setattr(decoders, "CPU_TILE", tile)
    given = arguments(2, 37, 11, 3, 6)
    with torch.no_grad():
        out = masked_decoder(*given)
    assert not out.requires_grad
    torch.testing.assert_close(out, masked_decoder(*given).detach(), rtol=1e-12, atol=1e-12)


def test_threads_of_the_process_stay_as_they_were():
    torch.set_num_threads(2)
    decoders._workers.cache_clear()
    masked_decoder(*arguments(2, 20, 600, 3, 64)).sum().backward()
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert (torch.get_num_threads(), seen) == (2, [2])


def test_gradients_of_a_part_of_the_arguments():
    given = arguments(1, 4, 5, 2, 3)
    given = [given[0].detach(), *given[1:]]
    expected = torch.autograd.grad(naive_decoder(*given).sum(), given[1:])
    actual = torch.autograd.grad(masked_decoder(*given).sum(), given[1:])
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)


def test_bfloat16_products_stay_near_float32_and_keep_dtypes():
    """bfloat16 has 8 significant bits; a few roundings in a row, and units near zero that change
    side, leave some per cent of each array's size."""
    given = arguments(2, 64, 40, 5, 50, dtype=torch.float32)
    weight = weights(given)
    expected = value_and_gradients(masked_decoder, given, weight)
    actual = value_and_gradients(
        lambda *a: masked_decoder(*a, precision=torch.bfloat16), given, weight
    )
    for a, e in zip((actual[0], *actual[1]), (expected[0], *expected[1]), strict=True):
        assert a.dtype == torch.float32
        assert (a - e).norm() < 0.08 * e.norm()


def test_training_curves_of_fast_and_plain_decoders_agree(monkeypatch):
    """Same seeds, same data: only rounding may tell the two apart."""
    monkeypatch.setattr(decoders, "CPU_TILE", 1 << 13)
    X = np.random.default_rng(0).normal(size=(160, 30))
    curves = []
    for decoder in (masked_decoder, batched_decoder):
        curve = []
        monkeypatch.setattr(training, "report", lambda *seen, to=curve: to.append(seen[2]))
        model = untrained(
            "sparse_vae",
            "gaussian",
            3,
            1,
            epochs=12,
            batch_size=32,
            n_hidden=16,
            learning_rate=0.003,
        )
        chosen = lambda *a, decoder=decoder: decoder(*a[:7])  # noqa: E731
        monkeypatch.setitem(type(model).decode.__globals__, "masked_decoder", chosen)
        model.fit(X)
        curves.append(curve)
    assert len(curves[0]) == 12
    assert curves[0][-1] < curves[0][0]
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-4)
