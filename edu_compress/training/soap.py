r"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner; fewer steps for the same loss.

Adam scales each coordinate of a gradient G by its own running size, so it is at its best where coordinates do not
depend on one another. SOAP looks for such coordinates: it keeps running averages of G Gᵀ and Gᵀ G, and turns the
gradient into their eigenvectors, where Adam then does its work::

                      every 10 steps
    L = average(G Gᵀ) --------------> Q_L                         m = average(G)
    R = average(Gᵀ G) --------------> Q_R        G' = Q_Lᵀ G Q_R --> v = average(G'²)

    W <- W - rate · Q_L [ Q_Lᵀ m Q_R / √v ] Q_Rᵀ

A convolution's kernel (out, in, k, k) has three such sides: out, in, and the k · k places. Sides longer than
``largest`` keep their own coordinates. The work does not grow with the batch: SOAP pays on large batches and on a GPU,
and eats most of what it gains on small ones on a CPU.

References: Vyas et al., "SOAP: improving and stabilizing Shampoo using Adam", ICLR 2025, arXiv:2409.11321.

Taught in lesson 05.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


class SOAP(torch.optim.Optimizer):
    """See the module docstring.

    Args:
        params: parameters, or groups of them.
        lr: learning rate, as for Adam.
        betas: how slowly the averages of G and of G'² follow; the second also of L and R.
        eps: added to √v.
        every: steps between two updates of the eigenvectors.
        largest: sides longer than this are not turned.
    """

    def __init__(
        self, params: Iterable, lr: float = 1e-3, betas: tuple[float, float] = (0.95, 0.95), eps: float = 1e-8,
        every: int = 10, largest: int = 256,
    ):  # fmt: skip
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "every": every, "largest": largest})

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> None:
        """Make one step; the very first only measures."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._step_of(p, group)

    def _step_of(self, p: Tensor, group: dict) -> None:
        G, state, (beta1, beta2) = _sides(p.grad), self.state[p], group["betas"]
        if not state:
            turned = [side for side, size in enumerate(G.shape) if 1 < size <= group["largest"]]
            if p.dim() == 1:  # biases and the like: plain Adam
                turned = []
            state |= {"step": 0, "m": torch.zeros_like(G), "v": torch.zeros_like(G)}
            state["sides"] = {str(side): _outer(G, side) for side in turned}
            state["Q"] = {side: _eigenvectors(L) for side, L in state["sides"].items()}
            return
        state["step"] += 1
        state["m"].lerp_(G, 1 - beta1)
        turned = _turn(G, state["Q"])
        state["v"].lerp_(turned * turned, 1 - beta2)
        correction = (1 - beta2 ** state["step"]) ** 0.5 / (1 - beta1 ** state["step"])
        direction = correction * _turn(state["m"], state["Q"]) / (state["v"].sqrt() + group["eps"])
        p.sub_(group["lr"] * _turn(direction, state["Q"], back=True).view_as(p))
        for side, L in state["sides"].items():
            L.lerp_(_outer(G, int(side)), 1 - beta2)
        if state["step"] % group["every"] == 0:
            for side, L in state["sides"].items():
                state["Q"][side], order = _improved(state["Q"][side], L)
                state["v"] = state["v"].index_select(int(side), order)


def _sides(tensor: Tensor) -> Tensor:
    """A kernel (out, in, k, k) as (out, in, k · k); others as they are."""
    return tensor.flatten(2) if tensor.dim() > 2 else tensor


def _outer(G: Tensor, side: int) -> Tensor:
    """G Gᵀ along one side: (n, n)."""
    rows = G.transpose(0, side).flatten(1)
    return rows @ rows.T


def _turn(G: Tensor, Q: dict[str, Tensor], back: bool = False) -> Tensor:
    """G in the coordinates of the eigenvectors, or back from them."""
    for side, vectors in Q.items():
        G = torch.tensordot(G, vectors.T if back else vectors, dims=([int(side)], [0])).movedim(-1, int(side))
    return G


def _eigenvectors(L: Tensor) -> Tensor:
    """Of a symmetric matrix, the largest eigenvalue first: (n, n). In float64: first gradients can be 1e-20 small."""
    return torch.linalg.eigh(L.double()).eigenvectors.flip(1).to(L.dtype)


def _improved(Q: Tensor, L: Tensor) -> tuple[Tensor, Tensor]:
    """One step of power iteration towards the eigenvectors of L, the largest first; and how they were reordered."""
    order = torch.argsort((Q * (L @ Q)).sum(0), descending=True)
    return torch.linalg.qr(L @ Q[:, order]).Q, order
