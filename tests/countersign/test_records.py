"""Values that every request makes."""

from dataclasses import replace

from countersign.invocations import Place


def test_a_value_is_what_its_fields_are() -> None:
    one, same, other = Place("slack", "T1", "C1"), Place("slack", "T1", "C1"), Place("slack", "T1", "C2")
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert replace(one, channel="C2") == other
    assert {one: "here"}[same] == "here"
