"""
Faults are read strictly, chosen in a fixed order and counted exactly.
"""

import pytest

from authsvc.sandbox import FAULTS, BadFault, Fault, FaultPlan, parse_fault
from tests.sandbox.wire import D1, D2


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("drop", Fault("drop")),
        ("  drop ", Fault("drop")),
        ("errcode;45009", Fault("errcode", 45009)),
        ("errcode;-1", Fault("errcode", -1)),
        ("quoted-errcode", Fault("quoted-errcode", 40029)),
        ("delay;2.5", Fault("delay", 2.5)),
        ("http", Fault("http", 502)),
        ("http;503", Fault("http", 503)),
        ("huge", Fault("huge", 10 * 1024 * 1024)),
        ("trickle", Fault("trickle", 1)),
    ],
)
def test_reads_name_and_parameter(text: str, fault: Fault) -> None:
    """
    ``name`` and ``name;param`` are understood, with the documented defaults, and print as they parse.
    """
    assert fault == parse_fault(text)
    assert fault == parse_fault(str(fault))


@pytest.mark.parametrize(
    "text",
    [
        "",
        ";",
        "nosuch",
        "DROP",
        "drop;1",
        "errcode",
        "errcode;",
        "errcode;0",
        "errcode;x",
        "errcode;1.5",
        "errcode;99999999999",
        "delay",
        "delay;-1",
        "delay;3601",
        "delay;nan",
        "delay;1e3",
        "http;200",
        "http;600",
        "huge;-1",
        "huge;999999999",
        "errcode;٣",
    ],
)
def test_refuses_what_is_no_fault(text: str) -> None:
    """
    A misspelt fault is an error, never a faithful answer.
    """
    with pytest.raises(BadFault):
        parse_fault(text)


def test_header_beats_code_beats_prefix_beats_rule() -> None:
    """
    The nearest source wins, and the ones behind it are not used up.
    """
    plan = FaultPlan()
    code = "fault:bom:x"
    plan.bind(code, fault=Fault("array"), times=1)
    plan.put(Fault("drop"), times=1)
    assert Fault("truncated") == plan.choose(header="truncated", code=code, app_id=D1)
    assert Fault("array") == plan.choose(header=None, code=code, app_id=D1)
    assert Fault("bom") == plan.choose(header=None, code=code, app_id=D1)
    assert Fault("drop") == plan.choose(header=None, code="other", app_id=D1)
    assert plan.choose(header=None, code="other", app_id=D1) is None


def test_a_prefix_carries_a_parameter() -> None:
    """
    ``fault:name;param:rest`` is a fault every time; a prefix that names none is an error.
    """
    plan = FaultPlan()
    for _ in range(2):
        assert Fault("errcode", 48001) == plan.choose(header=None, code="fault:errcode;48001:x", app_id=None)
    with pytest.raises(BadFault):
        plan.choose(header=None, code="fault:nosuch:x", app_id=None)


@pytest.mark.parametrize("times", [1, 3, None])
def test_a_bound_fault_strikes_that_often(times: int | None) -> None:
    """
    A code's fault strikes the given number of requests with this code, or all.
    """
    plan = FaultPlan()
    plan.bind("code", fault=Fault("drop"), times=times)
    assert plan.choose(header=None, code="another", app_id=D1) is None
    struck = sum(plan.choose(header=None, code="code", app_id=D1) is not None for _ in range(5))
    assert (5 if times is None else times) == struck


def test_rules_are_per_app_or_for_all_and_wait_in_line() -> None:
    """
    A rule strikes its own app, the general one everybody, and an appended one follows the used up.
    """
    plan = FaultPlan()
    plan.put(Fault("drop"), app_id=D1, times=1)
    plan.append(Fault("bom"), times=2)

    def chosen(app_id: str | None) -> str | None:
        fault = plan.choose(header=None, code=None, app_id=app_id)
        return None if fault is None else fault.name

    assert [chosen(D2), chosen(D1), chosen(D1), chosen(D1)] == ["bom", "drop", "bom", None]


def test_put_replaces_the_rules_of_its_scope_only() -> None:
    """
    One app's new rule removes that app's old ones and leaves the others.
    """
    plan = FaultPlan()
    plan.append(Fault("drop"), app_id=D1)
    plan.append(Fault("bom"), app_id=D1)
    plan.append(Fault("array"))
    plan.put(Fault("truncated"), app_id=D1)
    assert [rule.fault.name for rule in plan.rules] == ["array", "truncated"]
    plan.clear_scope(None)
    assert [rule.fault.name for rule in plan.rules] == ["truncated"]


def test_clear_leaves_no_fault() -> None:
    """
    After clear neither rules nor bindings strike.
    """
    plan = FaultPlan()
    plan.put(Fault("drop"))
    plan.bind("code", fault=Fault("drop"), times=None)
    plan.clear()
    assert plan.choose(header=None, code="code", app_id=D1) is None


@pytest.mark.parametrize("times", [0, -1])
def test_zero_times_is_a_mistake(times: int) -> None:
    """
    A fault that would never strike is refused.
    """
    plan = FaultPlan()
    with pytest.raises(BadFault):
        plan.put(Fault("drop"), times=times)
    with pytest.raises(BadFault):
        plan.bind("code", fault=Fault("drop"), times=times)


def test_bindings_are_bounded() -> None:
    """
    The oldest of more than ten thousand bound codes is forgotten.
    """
    plan = FaultPlan()
    for number in range(10_001):
        plan.bind(str(number), fault=Fault("drop"))
    assert plan.choose(header=None, code="0", app_id=D1) is None
    assert plan.choose(header=None, code="1", app_id=D1) == Fault("drop")


def test_every_fault_explains_itself() -> None:
    """
    The catalogue has a meaning for each.
    """
    assert all(kind.meaning for kind in FAULTS.values())
