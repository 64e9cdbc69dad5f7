"""What an operator of the demo can ask of the running platform, and what it answers."""

from __future__ import annotations

from collections.abc import Callable

import redis

from opsportal.demo.behaviour import BROKEN, DEGRADED, SLOW
from opsportal.demo.children import Children
from opsportal.demo.control import Answer
from opsportal.demo.outside_child import Outside
from opsportal.demo.readings import DRAWDOWN, LATENCY, PROVOKED_SECONDS, SERVICES, SLOW_SERVICE, STRATEGIES, Readings
from opsportal.demo.roster import OUTSIDE
from opsportal.demo.streams import KEYS, Streams

MODE_SENTENCES = {
    SLOW: "{name} takes 2 to 3.5 s over each reply now, until `heal`.",
    DEGRADED: "{name} calls itself degraded now, until `heal`.",
    BROKEN: '{name} breaks the contract now (status "ok"), until `heal`.',
}
SERVICE_VERBS = ("kill", "start", "slow", "degrade", "break", "heal")
STREAM_VERBS = ("stall", "drain")
READING_VERBS = {DRAWDOWN: ("strategy", "strategies", STRATEGIES), LATENCY: ("service", "services", tuple(SERVICES))}
"""What can be provoked, of what, and of which."""
USUAL_SUBJECT = {DRAWDOWN: STRATEGIES[0], LATENCY: SLOW_SERVICE}
VERBS = ("list", *SERVICE_VERBS, *STREAM_VERBS, *READING_VERBS)
NEED_NO_SUBJECT = frozenset({"list", *READING_VERBS})


class Desk:
    """Obeys requests. `now`: the clock that the platform's steps are given."""

    def __init__(
        self, children: Children, outside: Outside, streams: Streams, readings: Readings, now: Callable[[], float]
    ) -> None:
        self._children = children
        self._outside = outside
        self._streams = streams
        self._readings = readings
        self._now = now

    def obey(self, verb: str, subject: str) -> Answer:
        """Do it and say what was done; a refusal names what there is."""
        if verb == "list":
            return Answer(True, (*self._service_lines(), *self._stream_lines(), *self._provoked_lines()))
        if verb in STREAM_VERBS:
            return self._stream(verb, subject)
        if verb in READING_VERBS:
            return self._provoke(verb, subject)
        if subject == OUTSIDE and verb in ("kill", "start"):
            return self._switch_outside(verb)
        if verb == "heal" and subject in STRATEGIES:
            self._readings.heal(subject)
            return Answer(True, (f"{subject} loses no more than usual.",))
        if verb not in SERVICE_VERBS:
            return Answer(False, (f"There is no “{verb}”: {', '.join(VERBS)}.",))
        if subject not in self._children.names:
            known = ", ".join(self._children.names)
            more = f" `{verb} {OUTSIDE}` is for the mail server and the providers." if verb in ("kill", "start") else ""
            return Answer(False, (f"There is no service “{subject}”. The services are {known}.{more}",))
        act = {"kill": self._kill, "start": self._start, "heal": self._heal}.get(verb)
        return act(subject) if act else self._change(subject, verb)

    def _kill(self, name: str) -> Answer:
        pid = self._children.kill(name)
        if pid is None:
            return Answer(True, (f"{name} was not running; it stays dead until `start`.",))
        return Answer(True, (f"{name} (process {pid}) was killed; it stays dead until `start`.",))

    def _start(self, name: str) -> Answer:
        if not self._children.start(name):
            return Answer(True, (f"{name} runs already.",))
        return Answer(True, (f"{name} was started: {self._children.addresses.url(name)}/health",))

    def _heal(self, name: str) -> Answer:
        self._children.set_modes(name, frozenset())
        self._readings.heal(name)
        if not self._children[name].runs:
            return Answer(True, (f"{name} is dead; `start` brings it back.",))
        return Answer(True, (f"{name} behaves as usual again.",))

    def _change(self, name: str, mode: str) -> Answer:
        if not self._children[name].runs:
            return Answer(False, (f"{name} is dead; `start` it first.",))
        self._children.set_modes(name, self._children[name].modes | {mode})
        return Answer(True, (MODE_SENTENCES[mode].format(name=name),))

    def _stream(self, verb: str, subject: str) -> Answer:
        key = subject if subject.startswith("demo:") else f"demo:{subject}"
        if key not in KEYS:
            return Answer(False, (f"There is no stream “{subject}”. The streams are {', '.join(KEYS)}.",))
        if verb == "stall":
            self._streams.stall(key)
            return Answer(True, (f"The consumers of {key} have stopped, until `drain`.",))
        self._streams.drain(key, self._now())
        return Answer(True, (f"The consumers of {key} work again and catch up.",))

    def _provoke(self, what: str, subject: str) -> Answer:
        subject = subject or USUAL_SUBJECT[what]
        one, several, known = READING_VERBS[what]
        if subject not in known:
            names = ", ".join(known)
            return Answer(False, (f"There is no {one} “{subject}” whose {what} is told. The {several} are {names}.",))
        self._readings.provoke(what, subject, self._now())
        limit = "above 5 %" if what == DRAWDOWN else "above 700 ms"
        until = f"for {PROVOKED_SECONDS[what]:.0f} s, or until `heal {subject}`"
        return Answer(True, (f"The {what} of {subject} is {limit} from now on, {until}.",))

    def _switch_outside(self, verb: str) -> Answer:
        if verb == "start":
            done = self._outside.start(self._now())
            return Answer(True, ("The mail server and the providers run again." if done else "They run already.",))
        self._outside.kill()
        return Answer(True, ("The mail server and the providers were killed; they stay dead until `start outside`.",))

    def _provoked_lines(self) -> list[str]:
        return [f"{line}, provoked" for line in self._readings.provoked(self._now())]

    def _service_lines(self) -> list[str]:
        lines = [
            f"{name:<16}{self._children.addresses.url(name)}  {self._state(name)}" for name in self._children.names
        ]
        return [*lines, *self._outside.describe()]

    def _state(self, name: str) -> str:
        child = self._children[name]
        if child.runs and child.process is not None:
            return ", ".join([f"runs as process {child.process.pid}", *sorted(child.modes)])
        if child.held:
            return "dead until `start`"
        return f"dead, returns in {max(0.0, (child.returns_at or 0.0) - self._now()):.0f} s"

    def _stream_lines(self) -> list[str]:
        try:
            return [f"{key:<18}{'; '.join(self._streams.describe(key, self._now()))}" for key in KEYS]
        except redis.RedisError:
            return ["The streams cannot be read: Redis does not answer."]
