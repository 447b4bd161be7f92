"""What the people of the gallery may do, and the commands they have."""

from typing import Final

POLICY: Final = """
profile: team
timezone: Europe/Berlin
people:
  ada: {email: ada@example.test, groups: [developers], manager: lin, timezone: Europe/Berlin}
  lin: {email: lin@example.test, groups: [developers, leads]}
  kim: {email: kim@example.test, groups: [leads]}
  max: {email: max@example.test, groups: [admins]}
  eve: {email: eve@example.test}
service_accounts: {night-shift: {groups: [robots]}}
roles:
  deployer: [shop:ship]
  keeper: [shop:wipe]
  approver: [shop:approve, countersign:approve]
  auditor: [countersign:audit]
  admin: ["*:*"]
groups: {developers: [deployer], leads: [deployer, keeper, approver, auditor], admins: [admin], robots: [deployer]}
departments: {engineering: [developers, leads]}
schedules: {leads-on-call: {rotation: [lin, kim], start: "2026-01-05T09:00:00Z", every: 7d}}
access: {keeper: {max: 8h}}
channels: {ship: [deploys]}
windows: {nights: {days: mon-thu, from: "22:00", to: "4:00", zone: Europe/Berlin}}
freezes:
  year-end: {from: "2031-12-20 18:00 Europe/Berlin", to: "2032-01-03 08:00 Europe/Berlin", command: ship, because: We sell.}
rules:
  - {name: prod takes two, command: ship, when: {env: prod}, approve: {by: shop:approve, count: 2, expires: 8h, valid: 8h}}
  - {name: keys at night, command: rotate, window: nights}
"""
COMMANDS: Final = r'''
"""What a small shop runs. `note` is whatever somebody writes, and it goes everywhere that a run can write to."""

import asyncio
from enum import Enum

from countersign import (
    Approval, Bar, Chart, Context, Field, Input, Part, Picture, Plan, PlanningContext, PlanRefused, Reply, Secret, StepFailed, Tone,
    ask_choice, ask_done, ask_form, ask_review, command, step
)

class Env(Enum):
    staging = "staging"
    prod = "prod"


@step(idempotent=True, timeout="1m")
async def build(ctx: Context, service: str, version: str, note: str) -> str:
    """Builds the version."""
    for number in range(1, 5):
        await ctx.progress(number, 4, f"layer {number} of 4: {note}")
        await ctx.log(f"layer {number} of {service} {version} is built: {note}")
    await ctx.artifact("build-report.txt", f"{service} {version}: {note}")
    return note


@step(idempotent=True, timeout="1m")
async def point(ctx: Context, service: str, version: str) -> None:
    """Points the balancer at the version."""
    await ctx.log(f"{service} now answers with {version}")


@step(reads=True, timeout="1m")
async def check(ctx: Context, version: str, note: str) -> str:
    """Asks it three times whether it is well."""
    await asyncio.sleep(0.05)
    if version in ("v9", "v8"):
        raise StepFailed(f"two of three answers were errors: {note}")
    return note


@step(idempotent=True)
async def stick(ctx: Context, note: str) -> None:
    """Cannot be taken back."""
    raise StepFailed(f"the old version is gone: {note}")


@step(timeout="0.2s")
async def pay(ctx: Context, amount: str, note: str) -> None:
    """Sends money, and hears nothing back."""
    await ctx.log(f"sending {amount}: {note}")
    await asyncio.sleep(30)


@command("ship", permission="shop:ship", risk="medium", owner="platform", slash=True)
async def ship(ctx: PlanningContext, service: str, version: str, env: Env = Env.staging, note: str = "") -> Plan:
    """Move a service to a version.

    In prod two other people approve first. What is not well is taken back by itself.
    """
    if version == "v0":
        raise PlanRefused(f"There is no v0 of {service}: {note}")
    ctx.watch("live now", f"v1 {note}".strip())
    back = stick(note) if version == "v8" else point(service, "v1")
    return Plan(
        f"{service} in {env.value}: v1 → {version} {note}".strip(),
        build(service, version, note), point(service, version).undone_by(back), check(version, note),
        fields=(
            Field(label="Page", value=f"https://{service}.example.test"),
            Field(label=note[:60] if "<" in note else "Campaign", value=note),
        ),
        preview=f"- image: {service}:v1\n+ image: {service}:{version}\n  note: {note}",
        warning=f"Support is told first: {note}" if env is Env.prod else "",
    )


@command("status", permission="shop:ship", risk="read", owner="platform", slash=True)
async def status(ctx: PlanningContext, note: str = "") -> Reply:
    """Show what runs where."""
    table = "service  staging  prod  releases\napi      v3       v2    v1 v2 v3\nweb      v2       v2    v1 v2"
    bars = (Bar(label=f"api {note}", values=(3, 1), told=f"3, 1 left {note}"), Bar(label="web", values=(2, 0), told="2"))
    parts = (Part(name="live", tone=Tone.good), Part(name=f"left {note}", tone=Tone.neutral))
    charts = (Chart(title=f"Releases {note}", aside=note, parts=parts, bars=bars), Chart(title="Alarms", nothing=f"None {note}"))
    picture = Picture(title=f"Releases {note}", aside=note or "until now", charts=charts)
    return Reply(text=f"What runs where {note}".strip(), code=f"{table}\n{note}", picture=picture)


@command("pay out", permission="shop:ship", risk="low", owner="billing")
async def pay_out(ctx: PlanningContext, amount: str, note: str = "") -> Plan:
    """Pay out what a customer is owed."""
    return Plan(f"{amount} is paid out", pay(amount, note).undone_by(pay(amount, note)))


@command("rotate", permission="shop:ship", risk="low", owner="platform")
async def rotate(ctx: PlanningContext, service: str) -> Plan:
    """Give a service new keys, at night."""
    return Plan(f"new keys for {service}", point(service, "keys"))


@command("move house", permission="shop:ship", risk="medium", visibility="private", lock="house {city}")
async def move_house(ctx: PlanningContext, city: str, note: str = "") -> Plan:
    """Move the servers of a city, with several people's help."""
    title = (note or "Label the boxes")[:100]
    return Plan(
        f"servers in {city} move",
        ask_done("lin", title, text=note or "Each box has the name of its rack.", due="4h", remind="1h", escalate_to="@leads"),
    )


@command("restock", permission="shop:ship", risk="medium", owner="billing")
async def restock(ctx: PlanningContext, season: str, note: str = "") -> Plan:
    """Change prices, each of them looked at by somebody."""
    rows = [{"item": note or "rope", "price": 12}, {"item": "lamp", "price": 40}]
    return Plan(f"prices for {season}", ask_review("@leads", f"Prices for {season}", rows, edit=["price"], due="1d", text=note))


@command("pick", permission="shop:ship", risk="medium")
async def pick(ctx: PlanningContext, note: str = "") -> Plan:
    """Have one of the leads choose a supplier."""
    choices = ["North & Sons", note[:75] or "Harbour Ltd"]
    form = ask_form("@leads", "Its address", Input(name="street", label=note or "Street", hint=note, initial=note))
    return Plan("a supplier is chosen", ask_choice("lin", "Which supplier?", choices, text=note), form)


@command("wipe", permission="shop:wipe", risk="critical", approval=Approval(by="shop:approve", count=2), owner="platform")
async def wipe(ctx: PlanningContext, what: str, password: Secret, note: str = "") -> Plan:
    """Erase a customer's data for good."""
    return Plan(f"{what} is erased", point(what, "nothing"))
'''
