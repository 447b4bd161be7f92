"""Who there is, what they can ask for, what policy wants for it, and what chance may make of their arguments."""

from typing import Any

from hypothesis import strategies as st

from tests.machines.oracles import RuleModel, Wanted

NAMES = ("ada", "lin", "kim", "max", "eve")
HOMES: dict[str, set[str]] = {"ada": {"sre"}, "lin": {"sre", "leads"}, "kim": {"sre"}, "max": {"leads", "board"}, "eve": {"board"}}
MODELS = {
    "pair": RuleModel(((Wanted(("sre",), 2),),)),
    "chain": RuleModel(((Wanted(("sre",)),), (Wanted(("leads",)),))),
    "both": RuleModel(((Wanted(("sre",)), Wanted(("leads",))),)),
    "either": RuleModel(((Wanted(("leads",), 2), Wanted(("board",))),), any_of=True),
    "slow": RuleModel(((Wanted(("sre", "board")),),), deny=2),
}
POLICY = [
    {"name": "pair", "command": "pair", "approve": {"stages": [{"of": "group:sre", "count": 2}]}},
    {"name": "chain", "command": "chain", "approve": {"stages": [{"of": "group:sre"}, {"of": "group:leads"}]}},
    {"name": "both", "command": "both", "approve": {"stages": [{"all": [{"of": "group:sre"}, {"of": "group:leads"}]}]}},
    {"name": "either", "command": "either", "approve": {"stages": [{"any": [{"of": "group:leads", "count": 2}, {"of": "group:board"}]}]}},
    {"name": "slow", "command": "slow", "approve": {"stages": [{"of": ["group:sre", "group:board"]}], "deny": 2}},
]
MAY = ["ledger:sign", "countersign:use", "countersign:approve", "countersign:break-glass", "countersign:stop", "countersign:start"]
# Who may vote at home, and who may only in their place.
STAND_INS = [("ada", "max"), ("ada", "eve"), ("kim", "max"), ("kim", "eve"), ("lin", "eve"), ("lin", "ada")]

people = st.sampled_from(NAMES)
commands = st.sampled_from(sorted(MODELS))
words = st.sampled_from(["a", "a", "b"])
picks = st.sampled_from([0, 0, 0, 1, 2, 5])
rarely = st.sampled_from([False, False, False, True])
# Made once: making a strategy for each draw takes longer than the draw.
_APPROVERS = {True: st.permutations(NAMES), False: st.just([])}
approvers = rarely.flatmap(_APPROVERS.__getitem__)

SIDE_ARGUMENTS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "presses_again": {"pick": picks, "who": people},
    "stands_in": {"asker": people, "command": st.sampled_from(["pair", "either"]), "pair": st.sampled_from(STAND_INS), "really": rarely},
    "edits": {"who": people, "pick": picks, "what": words, "approved_by": approvers, "old": st.booleans()},
    "takes_back": {"who": people, "pick": picks, "verb": st.sampled_from(["withdraw", "takeback", "cancel"])},
    "hands_over": {"who": people, "pick": picks, "to": people},
    "breaks_the_glass": {"who": people, "pick": picks, "what": words},
    "delegates": {"who": people, "to": people, "minutes": st.integers(1, 60)},
    "ends_a_delegation": {"who": people, "to": people},
    "asks_for_a_standing_approval": {
        "who": people,
        "command": commands,
        "what": words,
        "for_whom": people,
        "uses": st.integers(1, 2),
        "approved_by": approvers,
    },
    "asks_for_what_is_allowed": {"pick": picks},
    "turns_the_kill_switch": {"who": people, "on": rarely},
    "leaves": {"who": people, "really": rarely, "pick": picks, "order": st.permutations(NAMES)},
    "comes_back": {"who": people},
    "changes_groups": {"who": people, "group": st.sampled_from(["sre", "leads", "board"])},
    "time_passes": {"minutes": st.sampled_from([1, 1, 10, 10, 61, 60 * 24])},
    "the_world_changes": {},
}
_SIDES = {name: st.tuples(st.just(name), st.fixed_dictionaries(SIDE_ARGUMENTS[name])) for name in sorted(SIDE_ARGUMENTS)}
sides = st.sampled_from(sorted(_SIDES)).flatmap(_SIDES.__getitem__)
