"""What another order of the same batches would have led to, without training again."""

from __future__ import annotations

import copy
import math
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tutelage.errors import NotReady
from tutelage.forecast import _order_curvature as curvatures
from tutelage.forecast._order_curvature import CURVATURES, Curvature
from tutelage.forecast._order_loss import FlatLoss
from tutelage.forecast._order_pairs import Pairs
from tutelage.forecast._order_report import OrderCheck, OrderForecast
from tutelage.forecast._order_steps import AdamSpec, OptimizerSpec, SGDSpec, State, rates_of
from tutelage.forecast._order_terms import PairTerms, Projection, byte_text, pair_bytes
from tutelage.randomness import numpy_generator

__all__ = ["AdamSpec", "OrderCheck", "OrderForecast", "OrderForecaster", "SGDSpec"]

Floats = NDArray[np.float64]
Orders = NDArray[np.int64]
#: Weights of all orders that are estimated at a time.
_AT_ONCE = 4_000_000


class OrderForecaster:
    """Estimates the weights that training on the same batches in another order would have ended at.

    Use it where many orders are to be compared: a search for a good curriculum, a map of what a batch's position does.
    It trains once, in the order given, and computes what *every* batch would have done at *every* checkpoint: as many
    gradients as training that many times. After that an order costs a few sums per weight.

    **Formula**: reference weights ``theta_{t+1} = theta_t - eta_t Gamma(g_t(B_t))``; another order ``l`` has
    ``gamma_0 = theta_0``, ``Delta_t = gamma_t - theta_t``, and ``gamma_{t+1} = gamma_t - eta_t Gamma(g_t(B_l) + u + w /
    2)`` with ``u`` about ``H Delta`` and ``w`` about ``D^3 L[Delta, Delta]`` of batch ``l_t`` at ``theta_t``;
    ``Gamma`` is the optimizer's own update with moments carried along. With ``moments="reference"`` the moments are
    those of the reference run, and ``Gamma`` itself is expanded: ``Gamma + Gamma' + Gamma'' / 2`` along ``Delta``.

    Args:
        loss_fn: ``loss_fn(params, batch)``, or ``loss_fn(model, batch)`` where ``params`` is a module: the mean loss
            over the batch, a scalar tensor, the same at each call.
        params: Weights to start from: tensors by name, or a torch module.
        batches: What is trained on, in the reference order, >= 2; anything that ``loss_fn`` takes.
        optimizer: :class:`AdamSpec` or :class:`SGDSpec`.
        order: 0 leaves gradients as they were at the checkpoint, 1 adds ``u`` (FUT), 2 adds ``w`` (FUT++).
        curvature: Where ``u`` and ``w`` come from. ``"trajectory"``: ``u`` from the batch's gradients at all
            checkpoints, along the run's own moves; ours. ``"secant"``: weight by weight from two (for ``w`` three)
            successive checkpoints; the paper's. ``"exact_diag"``: exact diagonal derivatives, ``d`` products a pair.
            ``"hutchinson"``: the same from random directions. ``"full"``: the whole Hessian; for a few hundred weights.
        moments: ``"carried"``, or ``"reference"``: see the formula.
        storage: ``"memory"``, ``"memmap"``: files in ``folder``, filled on where a process stopped, or
            ``"projected"``: ``p`` random sums of each vector (in ``folder``, where given).
        folder: Where files lie.
        p: Sums that a vector is stored as, below its length. Relative error of a vector about ``sqrt(d / p)``.
        draws: Random directions of ``"hutchinson"``.
        ridge: Damping of ``"trajectory"``, relative to the mean squared move.
        max_bytes: Most that the terms of all pairs may take.
        seed: Seed of projection and random directions.

    Raises:
        ValueError: An argument out of range, settings that exclude each other, or terms larger than ``max_bytes``.
        TypeError: ``params`` are neither tensors by name nor a module.
        ConfigError: ``folder`` holds the terms of another forecaster.
        StorageFull: The disk has no room for the terms.

    Example:
        >>> import torch
        >>> batches = [torch.tensor(c) for c in ([1.0, 0.0], [-1.0, 2.0], [0.5, 0.5])]
        >>> def loss(params, centre):
        ...     return ((params["x"] - centre) ** 2).sum()
        >>> start = {"x": torch.zeros(2)}
        >>> forecaster = OrderForecaster(loss, start, batches, optimizer=SGDSpec(lr=0.1), curvature="full").fit()
        >>> [round(float(one), 4) for one in forecaster.estimate([2, 1, 0])["x"]]
        [0.104, 0.384]
        >>> [round(float(one), 4) for one in forecaster.retrain([2, 1, 0])["x"]]
        [0.104, 0.384]

    Use with:
        ``forecaster.forecast(orders, held_out)`` gives losses together with a check against retrained orders;
        :func:`tutelage.curricula.search_order` looks for a good order,
        :func:`tutelage.evaluation.position_map` for what positions do.

    Helps / does not help:
        Sixteen batches that differ in kind, Adam, 32 orders trained (``benchmarks/order_effects.py``): rank correlation
        0.43 for 26,000 weights on digits and 0.60 for 20,000 on text with ``"trajectory"``, 0.41 and 0.83 with
        ``"secant"``, whose mean error was 1.6 and 2.7 times as large; 0.08 and 0.51 with no expansion. No way had an
        error below that of guessing the reference run's loss: use estimates to rank orders, not as losses. At twice the
        rate text fell to about 0.4. It is an expansion around one run: look at the check and at ``drift``. It costs as
        much as training once for every batch before the first estimate, so it does not pay for a handful of orders.
        Random projection adds noise of several times a gradient's own size where ``p`` is far below ``d``, and Adam
        reads its square: check such estimates first. Moments of the reference run fail early in training, when few
        gradients have gone into them.

    Relations:
        :meth:`influence` is the cheap rival: a table of what each batch at each position would change, no expansion.

    Source:
        Estimating the Effects of Sample Training Orders for Large Language Models without Retraining, 2025, arXiv
        2505.22042: the recursion, all pairs, both expansions, random projection (read in abstract and summaries; the
        derivatives by weight are worked out here). Carried moments and ``"trajectory"`` are ours; the latter is the
        several-secants condition of Fang and Saad, Two classes of multisecant methods for nonlinear acceleration,
        2009. ``"hutchinson"``: A stochastic estimator of the trace of the influence matrix, 1990, with cube roots of 1
        so that third derivatives come out of the same directions.
    """

    def __init__(
        self,
        loss_fn: Callable[[Any, Any], torch.Tensor],
        params: Mapping[str, torch.Tensor] | nn.Module,
        batches: Sequence[Any],
        *,
        optimizer: OptimizerSpec,
        order: Literal[0, 1, 2] = 1,
        curvature: Curvature = "trajectory",
        moments: Literal["carried", "reference"] = "carried",
        storage: Literal["memory", "memmap", "projected"] = "memory",
        folder: str | Path | None = None,
        p: int | None = None,
        draws: int = 8,
        ridge: float = 1e-2,
        max_bytes: float = 4e9,
        seed: int = 0,
    ) -> None:
        self.batches, self.optimizer = list(batches), optimizer
        self.order, self.curvature, self.moments = order, curvature, moments
        self.draws, self.ridge, self.seed = draws, ridge, seed
        if len(self.batches) < 2:
            raise ValueError(f"OrderForecaster: batches must hold at least 2, got {len(self.batches)}.")
        if storage not in ("memory", "memmap", "projected"):
            raise ValueError(f'OrderForecaster: storage must be "memory", "memmap" or "projected", got "{storage}".')
        if storage == "memmap" and folder is None:
            raise ValueError('OrderForecaster: storage "memmap" needs folder, got None.')
        if storage == "memory" and folder is not None:
            raise ValueError('OrderForecaster: folder needs storage "memmap" or "projected", got "memory".')
        if draws < 1:
            raise ValueError(f"OrderForecaster: draws must be >= 1, got {draws}.")
        if not ridge >= 0:
            raise ValueError(f"OrderForecaster: ridge must be >= 0, got {ridge}.")
        self._check_settings()
        self.rates = rates_of(optimizer.lr, len(self.batches))
        self.loss = FlatLoss(loss_fn, params)
        d, self._p = self.loss.size, p
        if (storage == "projected") != (p is not None):
            raise ValueError(f'OrderForecaster: p goes with storage "projected", got p={p} and "{storage}".')
        if p is not None and not 1 <= p < d:
            raise ValueError(f"OrderForecaster: p must be in 1..{d - 1}, below the {d} weights, got {p}.")
        if p is not None and curvature == "full" and order:
            raise ValueError('OrderForecaster: curvature "full" cannot be projected. Use storage "memmap".')
        self._folder = None if folder is None else Path(folder)
        item = self.loss.start.element_size()
        stored = {name: width if p is None else p for name, width in self._pairs().widths.items()}
        needed = pair_bytes(len(self.batches), stored, item)
        if needed > max_bytes:
            smaller = "" if p else 'storage="projected" with a small p, '
            raise ValueError(
                f"OrderForecaster: terms of {len(self.batches)} x {len(self.batches)} pairs for {d} weights take "
                f"{byte_text(needed)}, over max_bytes {byte_text(max_bytes)}. "
                f"Use fewer, larger batches, {smaller}or raise max_bytes."
            )
        self.terms: PairTerms | None = None
        self._theta: torch.Tensor | None = None
        self._states: list[State] = []

    def _check_settings(self) -> None:
        if self.order not in (0, 1, 2):
            raise ValueError(f"OrderForecaster: order must be 0, 1 or 2, got {self.order}.")
        if self.curvature not in CURVATURES:
            raise ValueError(
                f'OrderForecaster: curvature must be one of {", ".join(CURVATURES)}, got "{self.curvature}".'
            )
        if self.moments not in ("carried", "reference"):
            raise ValueError(f'OrderForecaster: moments must be "carried" or "reference", got "{self.moments}".')
        if self.order == 2 and self.curvature in ("trajectory", "full"):
            raise ValueError(
                f'OrderForecaster: curvature "{self.curvature}" has no third derivatives for order 2. '
                'Use order=1, or "secant", "exact_diag" or "hutchinson".'
            )

    def _pairs(self) -> Pairs:
        # Quotients of projected gradients would be noise over small moves: formed while both are there, then projected.
        stored = self.curvature in ("exact_diag", "hutchinson", "full") or (self.curvature == "secant" and self._p)
        kind = self.curvature if self.order and stored else None
        return Pairs(self.loss, kind, self.order == 2, self.draws, self.seed)

    # --- fitting -----------------------------------------------------------------------------------------------------

    def fit(self, progress: Callable[[int, int], None] | None = None) -> OrderForecaster:
        """Train in the reference order and compute the terms of every pair; with a folder, go on where it was left.

        Args:
            progress: Called with pairs done and pairs in all.

        Returns:
            The forecaster itself.

        Raises:
            ValueError: The loss is not a function of weights and batch, or a term is not finite; says which.
        """
        self.loss.check_repeatable(self.batches[0])
        count, pairs, dtype = len(self.batches), self._pairs(), self.loss.start.dtype
        projection = Projection(self.loss.size, self._p, self.seed, dtype) if self._p else None
        self.terms = terms = PairTerms(
            count, pairs.widths, dtype=dtype, folder=self._folder, projection=projection, facts=self._facts(pairs)
        )
        theta, state = self.loss.start, self.optimizer.begin(self.loss.start)
        path, states = [theta], []
        for t in range(count):
            started = self._clock()
            fresh = [one for one in range(count) if not terms.has(t, one)]
            for one in fresh:
                terms.put(t, one, pairs.terms(path, t, one, self.batches[one]))
                if progress:
                    progress(t * count + one + 1, count * count)
            if fresh:
                terms.end_row(self._clock() - started)
            states.append(state)
            theta, state = self.optimizer.step(theta, state, terms.own(t).to(theta.device), t, self.rates[t])
            path.append(theta)
        self._theta, self._states = torch.stack(path), states
        return self

    def _clock(self) -> float:
        return time.process_time() if self.loss.start.device.type == "cpu" else time.perf_counter()

    def _facts(self, pairs: Pairs) -> dict[str, Any]:
        drawn = pairs.kind == "hutchinson"
        return {
            "batches": len(self.batches),
            "terms": pairs.widths,
            "curvature": pairs.kind,
            "p": self._p,
            "draws": self.draws if drawn else None,
            "seed": self.seed if drawn or self._p else None,
            "optimizer": repr({**vars(self.optimizer), "lr": self.rates}),
            "dtype": str(self.loss.start.dtype),
            "start": zlib.crc32(self.loss.start.cpu().numpy().tobytes()),
            "losses at start": [f"{self.loss.value(self.loss.start, batch):.4e}" for batch in self.batches],
        }

    def using(self, **changes: Any) -> OrderForecaster:
        """Return a forecaster with another ``order``, ``curvature``, ``moments`` or ``ridge`` on the same terms.

        Args:
            changes: New settings.

        Raises:
            ValueError: A setting that needs terms which were not computed, or one that cannot be changed.
        """
        fixed = sorted(set(changes) - {"order", "curvature", "moments", "ridge"})
        if fixed:
            raise ValueError(f"OrderForecaster: using() changes order, curvature, moments, ridge; not {fixed[0]}.")
        other = copy.copy(self)
        for name, value in changes.items():
            setattr(other, name, value)
        other._check_settings()
        mine, needed = self._pairs(), other._pairs()
        if needed.kind is not None and (needed.kind != mine.kind or set(needed.widths) - set(mine.widths)):
            raise ValueError(
                f'OrderForecaster: curvature "{other.curvature}" of order {other.order} needs terms that were not '
                "computed. Make a forecaster with these settings and fit it."
            )
        return other

    # --- estimating --------------------------------------------------------------------------------------------------

    @property
    def theta(self) -> torch.Tensor:
        """Weights of the reference run before each update and at its end, shape ``(batches + 1, d)``."""
        if self._theta is None:
            raise NotReady("OrderForecaster: nothing is fitted yet. Call fit() first.")
        return self._theta

    def estimate(self, order: Any) -> dict[str, torch.Tensor]:
        """Return the estimated weights by name after training in ``order``, a permutation of ``0 .. batches - 1``.

        Raises:
            NotReady: Before :meth:`fit`.
            ValueError: Not a permutation, or the estimate diverges.
        """
        (found,) = self._estimated(self._checked([order]))
        self._refuse_divergence(found[None])
        return self.loss.named(found)

    def estimate_losses(self, orders: Any, batches: Sequence[Any], *, allow_divergence: bool = False) -> Floats:
        """Return the loss on each of ``batches`` at the estimated weights of each order.

        Args:
            orders: Permutations, shape ``(orders, batches)`` (or one of shape ``(batches,)``).
            batches: What is evaluated; none of it needs to be trained on.
            allow_divergence: Give ``inf`` where an estimate diverges, instead of an error.

        Returns:
            Shape ``(orders, len(batches))``.

        Raises:
            NotReady: Before :meth:`fit`.
            ValueError: No batches, not a permutation, or an estimate that diverges.
        """
        return self._losses(self._estimated, orders, batches, allow_divergence)

    def estimate_loss(self, orders: Any, batches: Sequence[Any], *, allow_divergence: bool = False) -> Floats:
        """Return the mean over ``batches`` of :meth:`estimate_losses`, shape ``(orders,)``."""
        return np.asarray(self.estimate_losses(orders, batches, allow_divergence=allow_divergence).mean(axis=1))

    def _losses(
        self, final: Callable[[Orders], torch.Tensor], orders: Any, batches: Sequence[Any], allow_divergence: bool
    ) -> Floats:
        checked = self._checked(orders)
        if not len(batches):
            raise ValueError("OrderForecaster: batches to evaluate must hold at least one, got none.")
        rows = []
        for start in range(0, len(checked), self._chunk):
            found = final(checked[start : start + self._chunk])
            if not allow_divergence:
                self._refuse_divergence(found, start)
            for weights in found:
                losses = [self.loss.value(weights, batch) for batch in batches]
                rows.append([one if math.isfinite(one) else math.inf for one in losses])
        return np.array(rows)

    @property
    def _chunk(self) -> int:
        return max(1, _AT_ONCE // self.loss.size)

    def _refuse_divergence(self, found: torch.Tensor, start: int = 0) -> None:
        wild = (~torch.isfinite(found)).any(dim=1).nonzero()
        if len(wild):
            raise ValueError(
                f"OrderForecaster: the estimate of order {start + int(wild[0])} diverges. Lower the learning rate, "
                f'or use moments "carried" and curvature "trajectory" (here "{self.moments}" and "{self.curvature}").'
            )

    def _checked(self, orders: Any) -> Orders:
        found = np.asarray(orders)
        found = found[None] if found.ndim == 1 else found
        count = len(self.batches)
        if found.ndim != 2 or found.shape[1] != count or not np.issubdtype(found.dtype, np.integer):
            raise ValueError(
                f"OrderForecaster: orders must be whole numbers of shape (orders, {count}), "
                f"got {found.dtype} of shape {found.shape}."
            )
        wrong = (np.sort(found, axis=1) != np.arange(count)).any(axis=1)
        if wrong.any():
            first = int(np.argmax(wrong))
            raise ValueError(
                f"OrderForecaster: each order must be a permutation of 0..{count - 1}, "
                f"got {found[first].tolist()} as order {first}."
            )
        return found.astype(np.int64)

    def _curved(self) -> Any:
        if self.terms is None:
            raise NotReady("OrderForecaster: nothing is fitted yet. Call fit() first.")
        if self.order == 0:
            return curvatures.NoCurvature()
        if self.curvature == "trajectory":
            return curvatures.Trajectory(self.terms, self.theta, self.ridge)
        if self.curvature == "full":
            return curvatures.StoredHessian(self.terms)
        if self.curvature == "secant" and not self._p:
            return curvatures.Secant(self.terms, self.theta, self.order)
        return curvatures.StoredDiagonal(self.terms, self.order)

    @torch.no_grad()
    def _estimated(self, orders: Orders) -> torch.Tensor:
        """Return the estimated weights of each order, shape ``(orders, d)``."""
        theta, curved = self.theta, self._curved()
        terms = self.terms
        if terms is None:
            raise NotReady("OrderForecaster: nothing is fitted yet. Call fit() first.")
        gamma = theta[0].expand(len(orders), -1).clone()
        state = self.optimizer.begin(gamma)
        for t, rate in enumerate(self.rates):
            batches = torch.from_numpy(orders[:, t]).to(gamma.device)
            rows = terms.row(t).to(gamma.device)
            gradient = rows[batches]
            first, second = curved.at(t, batches, gamma - theta[t], rows)
            if self.moments == "carried":
                gamma, state = self.optimizer.step(gamma, state, gradient + first + second / 2, t, rate)
            else:
                at, along, bend = self.optimizer.expansion(self._states[t], gradient, first, second, t)
                # The update is no straight line even where the gradient is: its own bend counts from order 2 on.
                direction = at + along + bend / 2 if self.order == 2 else at + along
                gamma = self.optimizer.expanded_step(gamma, direction, rate)
        return gamma

    # --- truth -------------------------------------------------------------------------------------------------------

    def retrain(self, order: Any) -> dict[str, torch.Tensor]:
        """Return the weights by name after really training in ``order``."""
        return self.loss.named(self._retrained(self._checked([order]))[0])

    def retrain_loss(self, orders: Any, batches: Sequence[Any]) -> Floats:
        """Return the true mean loss over ``batches`` after training in each order, shape ``(orders,)``."""
        return np.asarray(self._losses(self._retrained, orders, batches, True).mean(axis=1))

    def _retrained(self, orders: Orders) -> torch.Tensor:
        found = []
        for order in orders:
            theta, state = self.loss.start, self.optimizer.begin(self.loss.start)
            for t, one in enumerate(order):
                gradient = self.loss.gradient(theta, self.batches[one])
                theta, state = self.optimizer.step(theta, state, gradient, t, self.rates[t])
            found.append(theta)
        return torch.stack(found)

    def random_orders(self, k: int, seed: int = 0) -> Orders:
        """Return ``k`` random orders, shape ``(k, batches)``."""
        rng = numpy_generator(seed, "orders")
        return np.stack([rng.permutation(len(self.batches)) for _ in range(k)])

    def error_check(self, k: int, batches: Sequence[Any], *, seed: int = 0) -> OrderCheck:
        """Train in ``k`` random orders and compare.

        Args:
            k: Orders to train, >= 4; thirty give a rank correlation to within about 0.2.
            batches: What is evaluated.
            seed: Draws the orders.
        """
        if k < 4:
            raise ValueError(f"OrderForecaster: k must be >= 4, got {k}.")
        orders = self.random_orders(k, seed)
        true, retrain_seconds, _ = self._timed(self._retrained, orders, batches)
        estimated, estimate_seconds, evaluate_seconds = self._timed(self._estimated, orders, batches)
        return OrderCheck(
            orders=orders,
            true=true,
            estimated=estimated,
            reference=float(np.mean([self.loss.value(self.theta[-1], batch) for batch in batches])),
            fit_seconds=self.fit_seconds,
            retrain_seconds=retrain_seconds / k,
            estimate_seconds=estimate_seconds / k,
            evaluate_seconds=evaluate_seconds / k,
        )

    @property
    def fit_seconds(self) -> float:
        """What computing the terms took, in all processes that took part."""
        return 0.0 if self.terms is None else self.terms.seconds

    def _timed(
        self, final: Callable[[Orders], torch.Tensor], orders: Orders, batches: Sequence[Any]
    ) -> tuple[Floats, float, float]:
        """Return mean losses, and the seconds that weights and evaluations took."""
        spent = 0.0

        def timed(part: Orders) -> torch.Tensor:
            nonlocal spent
            started = self._clock()
            found = final(part)
            spent += self._clock() - started
            return found

        started = self._clock()
        losses = self._losses(timed, orders, batches, True).mean(axis=1)
        return losses, spent, self._clock() - started - spent

    def forecast(self, orders: Any, batches: Sequence[Any], *, check: int | OrderCheck = 10) -> OrderForecast:
        """Return estimated losses of orders together with a check of such estimates.

        Args:
            orders: Permutations, shape ``(orders, batches)``.
            batches: What is evaluated.
            check: Random orders to train for the check, or a check made before.
        """
        losses = self.estimate_loss(orders, batches, allow_divergence=True)
        found = check if isinstance(check, OrderCheck) else self.error_check(check, batches)
        return OrderForecast(losses=losses, drift=self.drift(orders), check=found)

    def drift(self, orders: Any) -> Floats:
        """Return how far each order's estimate ends from the reference run's end, over how far that run went."""
        checked = self._checked(orders)
        parts = [
            (self._estimated(checked[start : start + self._chunk]) - self.theta[-1]).norm(dim=1)
            for start in range(0, len(checked), self._chunk)
        ]
        way = (self.theta[-1] - self.theta[0]).norm().clamp_min(1e-30)
        return np.asarray((torch.cat(parts) / way).cpu().double().numpy())

    def influence(self, batches: Sequence[Any]) -> Floats:
        """Return what each batch at each position would change in the loss, by its gradient there alone.

        An order's loss is about the loss at the start plus the sum of ``influence[t, l_t]``.

        Args:
            batches: What is evaluated.

        Returns:
            Shape ``(positions, batches)``; the reference run's own steps are on the diagonal.
        """
        if not len(batches):
            raise ValueError("OrderForecaster: batches to evaluate must hold at least one, got none.")
        theta, terms = self.theta, self.terms
        if terms is None:
            raise NotReady("OrderForecaster: nothing is fitted yet. Call fit() first.")
        rows = []
        for t, rate in enumerate(self.rates):
            slope = sum(self.loss.gradient(theta[t], batch) for batch in batches) / len(batches)
            state = tuple(one.expand(len(theta) - 1, -1) for one in self._states[t])
            moved, _ = self.optimizer.step(theta[t], state, terms.row(t).to(theta.device), t, rate)
            rows.append(((moved - theta[t]) @ slope).cpu().double().numpy())
        return np.stack(rows)
