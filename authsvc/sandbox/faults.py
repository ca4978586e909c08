"""
Which ways of failing exist, and how one of them is chosen for a request.

A fault is written ``name`` or ``name;param``. ``FAULTS`` lists every one with the moment it strikes and
what its parameter means. Four sources are asked in order, the first that names a fault wins: the
request's ``X-Sandbox-Fault`` header; a fault bound to the code when it was minted; a code whose text
is ``fault:<name[;param]>:<anything>``; the rules set through the control API. Carrying a fault out is
not here: see ``pipeline`` and ``delivery``. Refused connections have no request to choose for; they are a
switch of the server.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

FAULT_HEADER: Final = "X-Sandbox-Fault"

_CODE_PREFIX: Final = re.compile(r"fault:([^:]+):", re.DOTALL)
_MAX_BINDINGS: Final = 10_000
_MAX_SECONDS: Final = 3600.0
_MAX_BYTES: Final = 100 * 1024 * 1024
_SECONDS: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,6})?")
_INTEGER: Final = re.compile(r"-?[0-9]{1,10}")


class BadFault(ValueError):
    """
    The text names no fault, or its parameter does not fit; the text of the error says which.
    """


class Moment(Enum):
    """
    When a fault strikes.
    """

    INSTEAD = "instead"
    """The answer is the fault's; the code is not looked at and stays as it was."""
    BEFORE = "before"
    """Something happens first; then the request is served as always."""
    CONSUMED = "consumed"
    """The exchange is made, and if it used up the code the fault takes the answer's place; a refusal
    is answered as it is. So a resend of a dropped request meets 40163."""
    SUCCESS = "success"
    """The answer of a successful exchange is changed; a refusal is answered as it is."""
    ANSWER = "answer"
    """Whatever the answer is, it is changed or delivered in a strange way."""


class Param(Enum):
    """
    What stands after the semicolon.
    """

    NONE = "none"
    SECONDS = "seconds"
    ERRCODE = "errcode"
    STATUS = "status"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class FaultKind:
    """
    One row of the table. ``default`` is the parameter when none is given; None means it is required.
    """

    moment: Moment
    meaning: str
    param: Param = Param.NONE
    default: float | None = None


FAULTS: Final[Mapping[str, FaultKind]] = {
    "system-error": FaultKind(Moment.INSTEAD, "errcode -1, code untouched"),
    "system-error-consumed": FaultKind(Moment.CONSUMED, "errcode -1, code used up"),
    "minute-quota": FaultKind(Moment.INSTEAD, "errcode 45011"),
    "daily-quota": FaultKind(Moment.INSTEAD, "errcode 45009"),
    "errcode": FaultKind(Moment.INSTEAD, "this errcode, code untouched", Param.ERRCODE),
    "errcode-consumed": FaultKind(Moment.CONSUMED, "this errcode, code used up", Param.ERRCODE),
    "quoted-errcode": FaultKind(Moment.INSTEAD, "errcode written as a string", Param.ERRCODE, 40029),
    "drop": FaultKind(Moment.INSTEAD, "connection dropped without an answer, code untouched"),
    "drop-consumed": FaultKind(Moment.CONSUMED, "connection dropped without an answer, code used up"),
    "delay": FaultKind(Moment.BEFORE, "a wait before the code is looked at", Param.SECONDS),
    "delay-consumed": FaultKind(
        Moment.CONSUMED, "a wait after the code was used up, then the answer", Param.SECONDS
    ),
    "http": FaultKind(Moment.INSTEAD, "a gateway's HTML page, code untouched", Param.STATUS, 502),
    "http-consumed": FaultKind(Moment.CONSUMED, "a gateway's HTML page, code used up", Param.STATUS, 502),
    "empty-body": FaultKind(Moment.INSTEAD, "200, no body, text/html; charset=gbk, code untouched"),
    "empty-body-consumed": FaultKind(Moment.CONSUMED, "200, no body, text/html; charset=gbk, code used up"),
    "gbk": FaultKind(Moment.INSTEAD, "200, an HTML page in GBK, code untouched"),
    "errcode-zero": FaultKind(Moment.SUCCESS, "errcode 0 and errmsg ok beside the session"),
    "old-expires-in": FaultKind(Moment.SUCCESS, "the field expires_in of before 2018"),
    "missing-session-key": FaultKind(Moment.SUCCESS, "no session_key"),
    "empty-openid": FaultKind(Moment.SUCCESS, "openid is the empty string"),
    "old-hints": FaultKind(Moment.ANSWER, "errmsg ends in hints: [ req_id: ... ] in place of rid"),
    "truncated": FaultKind(Moment.ANSWER, "the first half of the JSON as the whole body"),
    "cut-body": FaultKind(Moment.ANSWER, "half of the announced body, then the connection drops"),
    "array": FaultKind(Moment.ANSWER, "the JSON object inside an array"),
    "bom": FaultKind(Moment.ANSWER, "a byte order mark before the JSON"),
    "huge": FaultKind(Moment.ANSWER, "JSON padded to this size", Param.BYTES, 10 * 1024 * 1024),
    "trickle": FaultKind(Moment.ANSWER, "this many seconds before each byte", Param.SECONDS, 1.0),
    "close-idle": FaultKind(Moment.ANSWER, "the connection closes unannounced once the answer is out"),
}
"""Every fault by name: the fault-injection list of facts/wechat-api.md section 10."""


@dataclass(frozen=True, slots=True)
class Fault:
    """
    A fault to carry out. ``number`` is its parameter in the unit of its kind, 0 where it takes none.
    """

    name: str
    number: float = 0

    @property
    def kind(self) -> FaultKind:
        """
        The row of the table.
        """
        return FAULTS[self.name]

    def __str__(self) -> str:
        if self.kind.param is Param.NONE:
            return self.name
        if self.kind.param is Param.SECONDS:
            return f"{self.name};{self.number:f}".rstrip("0").rstrip(".")
        return f"{self.name};{int(self.number)}"


def parse_fault(text: str) -> Fault:
    """
    The fault that ``name`` or ``name;param`` stands for.

    Raises:
        BadFault: no such name, or a parameter that is missing, superfluous or out of range.
    """
    name, semicolon, param = text.strip().partition(";")
    kind = FAULTS.get(name)
    if kind is None:
        raise BadFault("no such fault; GET /sandbox/v1/faults lists the names")
    if not semicolon:
        if kind.param is Param.NONE:
            return Fault(name)
        if kind.default is None:
            raise BadFault(f"{name} needs a parameter: {name};<{kind.param.value}>")
        return Fault(name, kind.default)
    if kind.param is Param.NONE:
        raise BadFault(f"{name} takes no parameter")
    number = _number(param.strip(), kind.param)
    if number is None:
        raise BadFault(f"the parameter of {name} is not a usable number of {kind.param.value}")
    return Fault(name, number)


def _number(text: str, param: Param) -> float | None:
    if param is Param.SECONDS:
        seconds = float(text) if _SECONDS.fullmatch(text) else None
        return seconds if seconds is not None and seconds <= _MAX_SECONDS else None
    if not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    allowed = {
        # 0 would be a success: errcode-zero is that.
        Param.ERRCODE: number != 0 and abs(number) < 2**31,
        Param.STATUS: 500 <= number <= 599,
        Param.BYTES: 0 <= number <= _MAX_BYTES,
    }
    return number if allowed[param] else None


@dataclass(slots=True)
class Rule:
    """
    A fault switched on for the requests of an app, to a path, or for all where ``app_id`` or ``path`` is None;
    ``remaining`` counts down with each request it strikes, None lasts until cleared.
    """

    fault: Fault
    app_id: str | None = None
    remaining: int | None = None
    path: str | None = None


@dataclass(slots=True)
class _Binding:
    fault: Fault
    remaining: int | None


class FaultPlan:
    """
    The faults that wait for requests.
    """

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._bindings: OrderedDict[str, _Binding] = OrderedDict()

    @property
    def rules(self) -> tuple[Rule, ...]:
        """
        The rules in force, in the order in which they are asked.
        """
        return tuple(self._rules)

    def put(
        self,
        fault: Fault,
        *,
        app_id: str | None = None,
        times: int | None = None,
        path: str | None = None,
    ) -> None:
        """
        Makes this the only rule of its scope: one app or all, one path or all.

        Raises:
            BadFault: ``times`` is below 1.
        """
        rule = Rule(fault, app_id, _checked(times), path)
        self._rules = [old for old in self._rules if (old.app_id, old.path) != (app_id, path)]
        self._rules.append(rule)

    def append(
        self,
        fault: Fault,
        *,
        app_id: str | None = None,
        times: int | None = None,
        path: str | None = None,
    ) -> None:
        """
        Adds a rule that takes effect when the earlier ones that match are used up.

        Raises:
            BadFault: ``times`` is below 1.
        """
        self._rules.append(Rule(fault, app_id, _checked(times), path))

    def bind(self, code: str, *, fault: Fault, times: int | None = 1) -> None:
        """
        Makes the fault strike the next ``times`` requests with this code, every one if None. The oldest
        bindings are forgotten beyond ten thousand.

        Raises:
            BadFault: ``times`` is below 1.
        """
        self._bindings[code] = _Binding(fault, _checked(times))
        self._bindings.move_to_end(code)
        if len(self._bindings) > _MAX_BINDINGS:
            self._bindings.popitem(last=False)

    def clear_scope(self, app_id: str | None) -> None:
        """
        Removes the rules of one app, or those for all apps if None, whatever their path.
        """
        self._rules = [rule for rule in self._rules if rule.app_id != app_id]

    def clear(self) -> None:
        """
        Removes every rule and every binding.
        """
        self._rules.clear()
        self._bindings.clear()

    def choose(
        self, *, header: str | None, code: str | None, app_id: str | None, path: str | None = None
    ) -> Fault | None:
        """
        The fault for one request, which is thereby counted; None to serve it faithfully.

        Raises:
            BadFault: the header or the code's prefix names none. A test with a misspelt fault must not pass.
        """
        if header is not None:
            return parse_fault(header)
        if code:
            bound = self._take_bound(code)
            if bound is not None:
                return bound
            prefix = _CODE_PREFIX.match(code)
            if prefix is not None:
                return parse_fault(prefix[1])
        return self._take_rule(app_id, path)

    def _take_bound(self, code: str) -> Fault | None:
        binding = self._bindings.get(code)
        if binding is None:
            return None
        if binding.remaining is not None:
            binding.remaining -= 1
            if binding.remaining == 0:
                del self._bindings[code]
        return binding.fault

    def _take_rule(self, app_id: str | None, path: str | None) -> Fault | None:
        for rule in self._rules:
            if rule.app_id not in (None, app_id) or rule.path not in (None, path):
                continue
            if rule.remaining is not None:
                rule.remaining -= 1
                if rule.remaining == 0:
                    self._rules.remove(rule)
            return rule.fault
        return None


def _checked(times: int | None) -> int | None:
    if times is not None and times < 1:
        raise BadFault("times must be at least 1, or null for always")
    return times
