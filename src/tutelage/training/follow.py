"""What a run does when: follow a schedule or a controller to the end of the budget, and stop cleanly when asked."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from tutelage.errors import ConfigError, TutelageError
from tutelage.training.callbacks import RunPaused
from tutelage.training.resolve import is_controller
from tutelage.training.session import Session

if TYPE_CHECKING:
    from tutelage.schedules._controller import RateController, Segment


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop and has saved itself."""


class DivergedError(Exception):
    """The loss is no longer a finite number."""


def run_phase(session: Session) -> None:
    """Make all updates of the phase that are left, and evaluate at its end.

    Raises:
        DivergedError: The loss stopped being finite.
        Interrupted: A signal asked for an end; the run has been saved.
        RunPaused: A callback asked for a pause; the run has been saved.
    """
    session.model.train()
    for callback in session.callbacks:
        callback.on_start(session.run)
    with _signals(session):
        if is_controller(session.schedule):
            _follow_controller(session)
        else:
            _follow_schedule(session)
        session.measure()
        session.save()


def _follow_schedule(session: Session) -> None:
    phase, counters = session.phase, session.counters
    while not session.budget_spent():
        step = counters.step
        last = phase.total_steps is not None and step + 1 >= phase.total_steps
        due = session.eval_every is not None and (step + 1) % session.eval_every == 0
        logged = last or due or step % session.log_every == 0 or phase.seconds is not None
        loss = session.update(session.rate(step), want_loss=logged)
        if loss is not None:
            _after_update(session, loss, last=last)
        _housekeeping(session)


def _after_update(session: Session, loss: float, *, last: bool = False) -> None:
    session.publish()
    if not math.isfinite(loss):
        raise DivergedError
    if session.evaluation_due() and not last:
        session.measure()


def _follow_controller(session: Session) -> None:
    counters = session.counters
    controller: RateController = session.schedule.controller(seed=session.seed)
    session.controller = controller
    if counters.controller is not None:
        controller.load_state_dict(counters.controller)
    while (segment := controller.propose()) is not None:
        if not counters.segment_steps:
            _check_budget(session, segment)
            if session.anchor is None:
                session.anchor = session.snapshot()
            elif segment.restore:
                session.go_back()
        if not _run_segment(session, segment):
            if segment.kind == "probe":  # a search that was stopped leaves no trace in the weights
                session.go_back()
            return
        try:
            controller.observe(list(counters.segment_losses))
        except TutelageError as error:
            session.go_back()  # no rate was found: what the probes did to the weights does not count
            session.run.stop_reason = str(error)
            raise DivergedError from error
        counters.segment_steps, counters.segment_losses = 0, []
        counters.controller = controller.state_dict()
        if segment.kind == "train":
            session.anchor = session.snapshot()
    session.run.searching = False


def _check_budget(session: Session, segment: Segment) -> None:
    left = (session.phase.total_steps or 0) - session.counters.spent
    if segment.steps > left:
        name = type(session.schedule).__name__
        raise ConfigError(
            f"{name}: its controller asked for {segment.steps} updates where {left} are left of the budget; plan "
            "all updates, search included, inside total_steps."
        )


def _run_segment(session: Session, segment: Segment) -> bool:
    """Make what is left of a segment's updates; return whether it was completed."""
    counters = session.counters
    searching = segment.kind == "probe"
    for rate in segment.rates()[counters.segment_steps :].tolist():
        if session.run.stop_reason is not None:
            return False
        loss = session.update(rate, searching=searching)
        value = math.nan if loss is None else loss
        counters.segment_steps += 1
        counters.search_steps += searching
        if segment.validate_every is None:
            counters.segment_losses.append(value)
        if searching:
            session.publish(searching=True)
        else:
            _after_update(session, value)
        if segment.validate_every is not None and counters.segment_steps % segment.validate_every == 0:
            counters.segment_losses.append(session.search_loss())
        _housekeeping(session)
    return True


def _housekeeping(session: Session) -> None:
    session.save_plateau()
    if _asked_to_stop(session):
        session.save()
        raise interruption(session)
    if session.run.pause:
        session.save()
        raise RunPaused(session.counters.step)
    if session.checkpoint_due():
        session.save()


def _asked_to_stop(session: Session) -> bool:
    return session.signal is not None if session.world == 1 else session.stop_agreed


def interruption(session: Session) -> Interrupted:
    """Return what to raise in a run that a signal has stopped."""
    return Interrupted(signal.Signals(session.signal or signal.SIGTERM).name)


@contextmanager
def _signals(session: Session) -> Iterator[None]:
    """Let Ctrl-C and a polite kill end the run after the update in hand, saved."""
    if session.folder is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def note(number: int, frame: FrameType | None) -> None:
        if session.signal is not None:  # asked twice: the user does not want to wait
            raise KeyboardInterrupt
        session.signal = number

    previous: dict[int, Any] = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
