"""SOAP against what can be worked out by hand, and against Adam, of which it is a turned copy."""

import copy
import io

import pytest
import torch

from edu_compress.training import soap
from edu_compress.training.soap import SOAP


@pytest.fixture
def weight():
    torch.manual_seed(1)
    return torch.nn.Parameter(torch.randn(4, 3))


def test_the_first_step_only_measures(weight):
    before, gradient = weight.detach().clone(), torch.randn(4, 3)
    frozen = torch.nn.Parameter(torch.randn(2, 2))  # has no gradient
    optimiser = SOAP([weight, frozen], lr=0.1)
    weight.grad = gradient
    optimiser.step()
    assert torch.equal(weight, before)
    state = optimiser.state[weight]
    assert frozen not in optimiser.state
    torch.testing.assert_close(state["sides"]["0"], gradient @ gradient.T)
    torch.testing.assert_close(state["sides"]["1"], gradient.T @ gradient)
    for side, L in state["sides"].items():  # Q holds the eigenvectors, that of the largest eigenvalue first
        turned = state["Q"][side].T @ L @ state["Q"][side]
        torch.testing.assert_close(turned, torch.diag(turned.diag()), atol=1e-5, rtol=0)
        assert (turned.diag().diff() < 1e-5).all()


@pytest.mark.parametrize("shape", [(5,), (4, 300)], ids=["vector", "one long side"])
def test_where_nothing_is_turned_it_is_adam(shape):
    torch.manual_seed(2)
    start, gradients = torch.randn(shape), torch.randn(30, *shape)
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    soap_, adam = SOAP([ours], lr=0.01, largest=1), torch.optim.Adam([theirs], lr=0.01, betas=(0.95, 0.95))
    ours.grad = gradients[0]
    soap_.step()  # the one that only measures
    for gradient in gradients:
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        soap_.step()
        adam.step()
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(ours, start, atol=0.02)


def test_with_another_basis_it_is_adam_in_that_basis(weight):
    """W <- W - rate · Q_L [ m' / √v ] Q_Rᵀ, by hand: at first m' = G' and √v = |G'|, so the bracket is a sign."""
    optimiser = SOAP([weight], lr=0.1)
    weight.grad = torch.randn(4, 3)
    optimiser.step()
    before, G = weight.detach().clone(), torch.randn(4, 3)
    Q_L, Q_R = (optimiser.state[weight]["Q"][side].clone() for side in "01")
    weight.grad = G
    optimiser.step()
    torch.testing.assert_close(weight.detach(), before - 0.1 * Q_L @ torch.sign(Q_L.T @ G @ Q_R) @ Q_R.T)


def test_every_ten_steps_the_basis_follows_the_gradients(weight):
    optimiser = SOAP([weight], lr=0.0, every=10)
    torch.manual_seed(3)
    weight.grad = torch.randn(4, 3)
    optimiser.step()
    first = optimiser.state[weight]["Q"]["0"].clone()
    fixed = torch.diag(torch.tensor([1.0, 2.0, 4.0, 8.0])) @ torch.randn(4, 3)
    for step in range(1, 401):
        weight.grad = fixed
        optimiser.step()
        assert torch.equal(optimiser.state[weight]["Q"]["0"], first) == (step < 10)
    Q, eigenvectors = optimiser.state[weight]["Q"]["0"], torch.linalg.eigh(fixed @ fixed.T).eigenvectors.flip(1)
    torch.testing.assert_close((Q.T @ eigenvectors).abs()[:3, :3], torch.eye(3), atol=1e-2, rtol=0)
    torch.testing.assert_close(Q.T @ Q, torch.eye(4), atol=1e-5, rtol=0)


def test_a_basis_in_the_wrong_order_is_reordered_and_v_with_it():
    L = torch.diag(torch.tensor([1.0, 9.0, 4.0]))
    Q, order = soap._improved(torch.eye(3), L)
    assert order.tolist() == [1, 2, 0]
    torch.testing.assert_close(Q.abs(), torch.eye(3)[:, order])
    W = torch.nn.Parameter(torch.zeros(3, 1))
    optimiser = SOAP([W], lr=0.1, every=1)
    W.grad = torch.tensor([[1.0], [3.0], [2.0]])
    optimiser.step()
    optimiser.state[W]["Q"]["0"] = torch.eye(3)
    optimiser.state[W]["sides"]["0"] = L
    optimiser.step()
    torch.testing.assert_close(optimiser.state[W]["v"], 0.05 * torch.tensor([[9.0], [4.0], [1.0]]))


def test_a_kernel_is_turned_along_its_outputs_its_inputs_and_its_places():
    kernel = torch.nn.Parameter(torch.randn(4, 3, 2, 2))
    kernel.grad = torch.randn(4, 3, 2, 2)
    optimiser = SOAP([kernel], lr=0.1)
    for _ in range(12):
        optimiser.step()
    Q = optimiser.state[kernel]["Q"]
    assert {side: tuple(vectors.shape) for side, vectors in Q.items()} == {"0": (4, 4), "1": (3, 3), "2": (4, 4)}
    narrow = SOAP([kernel], lr=0.1, largest=3)
    narrow.step()
    assert list(narrow.state[kernel]["Q"]) == ["1"]  # sides longer than that keep their own coordinates


def quadratic_after(optimiser_class, steps, **more):
    """W A W' with a matrix whose axes are not those of the coordinates."""
    torch.manual_seed(0)
    basis = torch.linalg.qr(torch.randn(12, 12)).Q
    A = basis @ torch.diag(torch.logspace(0, 4, 12)) @ basis.T
    W = torch.nn.Parameter(torch.randn(6, 12))
    optimiser = optimiser_class([W], lr=0.03, **more)
    for _ in range(steps):
        optimiser.zero_grad()
        loss = torch.einsum("ij,jk,ik", W, A, W)
        loss.backward()
        optimiser.step()
    return float(loss.detach())


def test_a_turned_valley_is_descended_faster_than_by_adam():
    assert quadratic_after(SOAP, 200) < 0.2 * quadratic_after(torch.optim.Adam, 200, betas=(0.95, 0.95))


def test_its_state_survives_a_checkpoint_to_the_last_bit():
    torch.manual_seed(4)
    layer, gradients = torch.nn.Conv2d(3, 5, 3), torch.randn(30, 5, 3, 3, 3)
    layer.to(memory_format=torch.channels_last)
    bias = torch.randn(30, 5)

    def go_on(layer, optimiser, steps):
        for step in steps:
            layer.weight.grad = gradients[step].to(memory_format=torch.channels_last)
            layer.bias.grad = bias[step]
            optimiser.step()

    optimiser = SOAP(layer.parameters(), lr=0.1)
    go_on(layer, optimiser, range(15))
    file = io.BytesIO()
    torch.save(optimiser.state_dict(), file)
    file.seek(0)
    other = copy.deepcopy(layer)
    resumed = SOAP(other.parameters(), lr=0.1)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for each in ((layer, optimiser), (other, resumed)):
        go_on(*each, range(15, 30))
    assert torch.equal(layer.weight, other.weight) and torch.equal(layer.bias, other.bias)
