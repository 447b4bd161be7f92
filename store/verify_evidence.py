"""Check one run's evidence without a database and without a hub. A program of its own that shares no code with whoever wrote the file.

    python store/verify_evidence.py evidence.json [--public-key audit-key.pub] [--anchors anchors.jsonl] [--json]

It needs Python and cryptography. What the file claims, and this recomputes:

- an event's leaf is SHA-256(0x00, its text in UTF-8), and its text begins with its id and its time;
- the leaf's path leads to the root of its block (RFC 9162 section 2.1.3.2), whose header is signed with Ed25519;
- blocks that follow each other are chained; each is in the anchor file, when one is given;
- its text ends with SHA-256(0x02, salt, payload); both may be gone where an event says so that is proven as well;
- the events are all of one run, move it as runs move, and name policies and a plan whose digests are those of the texts in the file.

With a public key and anchors from elsewhere it proves that this was recorded then; with those of the file alone, only that the file
agrees with itself. That no event at the end was left out only the whole record can prove (`verify_audit.py`).
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

FORMAT: Final = "countersign evidence 1"
HEADER: Final = ("n", "prev", "root", "count", "first_us", "last_us", "sealed_us", "key_id")
# What may follow what, besides that everything that has not ended may be cancelled.
MOVES: Final[Mapping[str, frozenset[str]]] = {
    "": frozenset({"submitted", "answered", "refused"}),
    "submitted": frozenset({"planning", "cancelled"}),
    "planning": frozenset({"answered", "awaiting_approval", "queued", "failed", "cancelled"}),
    "awaiting_approval": frozenset({"queued", "denied", "expired", "submitted", "cancelled"}),
    "queued": frozenset({"running", "stale", "submitted", "awaiting_approval", "cancelled"}),
    "stale": frozenset({"awaiting_approval", "queued", "cancelled"}),
    "running": frozenset({"waiting", "succeeded", "undoing", "interrupted", "failed", "cancelled"}),
    "waiting": frozenset({"running", "cancelled"}),
    "undoing": frozenset({"rolled_back", "rollback_failed", "interrupted", "cancelled"}),
    "interrupted": frozenset({"running", "undoing", "failed", "cancelled"}),
}
ENDS: Final = frozenset({"answered", "succeeded", "failed", "rolled_back", "rollback_failed", "denied", "expired", "cancelled", "refused"})
STATUSES: Final = frozenset(MOVES) - {""} | ENDS
ERASING: Final = ("people erase",)
LEAST_DAYS: Final = 30
Keys = dict[str, Ed25519PublicKey]


class NotEvidence(Exception):
    """The file cannot be checked; the message is one sentence."""


@dataclass
class Report:
    """What was checked; `problems` are sentences and empty when all is well, `notes` say what this file alone cannot show."""

    run: str = ""
    events: int = 0
    blocks: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns 0 when the evidence holds and 1 when it does not or could not be read."""
    parser = argparse.ArgumentParser(prog="verify_evidence", description="Check one run's evidence offline, or name what is wrong with it.")
    parser.add_argument("evidence", type=Path, help="what countersign evidence wrote")
    parser.add_argument("--public-key", type=Path, help="PEM file with the sealers' public keys, from somebody you trust")
    parser.add_argument("--anchors", type=Path, help="the anchor file, from where the database's host cannot change it")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    given = parser.parse_args(arguments)
    try:
        report = verify(
            _read(given.evidence), keys=given.public_key and _read(given.public_key), anchors=given.anchors and _read(given.anchors)
        )
    except NotEvidence as error:
        report = Report(problems=[str(error)])
    counts = f"run {report.run}: {report.events} events in {report.blocks} blocks"
    plain = "\n".join([*(report.problems or ["the evidence holds"]), *(f"note: {one}" for one in report.notes), counts])
    sys.stdout.write((json.dumps(asdict(report) | {"ok": not report.problems}) if given.json else plain) + "\n")
    return 1 if report.problems else 0


def verify(evidence: bytes, *, keys: bytes | None = None, anchors: bytes | None = None) -> Report:
    """Checks the file's bytes; `keys` is PEM and `anchors` JSON lines, both from elsewhere. Raises NotEvidence."""
    file = _parsed(evidence)
    report = Report(run=str(file["run"].get("number")), events=len(file["events"]), blocks=len(file["blocks"]))
    own = keys is None
    known = _keys_in(str(file["keys"]).encode() if own else keys or b"")
    blocks: dict[int, Mapping[str, Any]] = {}
    try:
        report.problems += _check_blocks(file["blocks"], known, blocks, own=own)
        report.problems += _check_anchors(blocks, _anchors_in(anchors if anchors is not None else str(file["anchors"]).encode()))
        report.problems += _check_events(file["events"], blocks)
        report.problems += _check_events(file.get("erasures", []), blocks)
        report.problems += _check_payloads(file["events"], file.get("erasures", []), report.notes)
        events = [_told(one) for one in file["events"]]
        report.problems += [
            *_check_story(events, file["run"]),
            *_check_policies(events, file["policies"], file.get("erasures", [])),
            *_check_plan(events, file["run"]),
        ]
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise NotEvidence(f"The file is damaged: {type(error).__name__} at {error}.") from None
    report.notes += _notes(file, known, own_keys=own, own_anchors=anchors is None)
    return report


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotEvidence(f"{path} cannot be read: {error.strerror}.") from None


def _parsed(evidence: bytes) -> dict[str, Any]:
    try:
        file = json.loads(evidence, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise NotEvidence(f"The file is not JSON: {error}.") from None
    if not isinstance(file, dict) or file.get("format") != FORMAT:
        raise NotEvidence(f"The file does not say that it is '{FORMAT}'.")
    kinds = {"run": dict, "events": list, "blocks": list, "keys": str, "anchors": str, "policies": list}
    if wrong := [name for name, kind in kinds.items() if not isinstance(file.get(name), kind)]:
        raise NotEvidence(f"The file is damaged: {', '.join(wrong)} is missing or not what it should be.")
    return file


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _keys_in(pem: bytes) -> Keys:
    end, found = b"-----END PUBLIC KEY-----", {}
    try:
        for one in pem.split(end)[:-1]:
            key = load_pem_public_key(one.strip() + b"\n" + end + b"\n")
            if isinstance(key, Ed25519PublicKey):
                found[hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]] = key
    except ValueError as error:
        raise NotEvidence(f"The public key cannot be read: {error}.") from None
    return found


def _check_blocks(given: Sequence[Mapping[str, Any]], keys: Keys, blocks: dict[int, Mapping[str, Any]], *, own: bool) -> Iterator[str]:
    """Also fills `blocks` by number with those whose signature holds."""
    for one in given:
        name = f"block {one['n']}"
        if one["n"] in blocks:
            yield f"{name} is there twice"
        elif one["key_id"] not in keys:
            yield f"{name}: the key {one['key_id']} is not {'in the file' if own else 'among those that you gave'}"
        else:
            try:
                keys[one["key_id"]].verify(bytes.fromhex(one["signature"]), _header(one))
                blocks[one["n"]] = one
            except (InvalidSignature, ValueError):
                yield f"{name}: its header or its signature was changed"
    for before, after in pairwise(sorted(blocks)):
        if after == before + 1 and blocks[after]["prev"] != hashlib.sha256(_header(blocks[before])).hexdigest():
            yield f"block {after} does not follow block {before}"


def _header(block: Mapping[str, Any]) -> bytes:
    return "\n".join(["countersign audit block 1", *(f"{name}={block[name]}" for name in HEADER)]).encode()


def _anchors_in(lines: bytes) -> dict[int, Mapping[str, Any]]:
    found: dict[int, Mapping[str, Any]] = {}
    for line in lines.splitlines():
        try:
            one = json.loads(line)
            found.setdefault(int(one["n"]), one)
        except (ValueError, TypeError, KeyError):
            continue  # torn by a crash; the sealer writes it again, whole
    return found


def _check_anchors(blocks: Mapping[int, Mapping[str, Any]], anchors: Mapping[int, Mapping[str, Any]]) -> Iterator[str]:
    for n, block in blocks.items():
        anchor = anchors.get(n)
        if anchors and anchor is None:
            yield f"block {n} is not among the anchors"
        said = (block["count"], block["root"], block["prev"], hashlib.sha256(_header(block)).hexdigest(), block["signature"])
        if anchor is not None and tuple(anchor.get(name) for name in ("count", "root", "prev", "digest", "signature")) != said:
            yield f"block {n} is not the block that was anchored"


def _check_events(events: Sequence[Mapping[str, Any]], blocks: Mapping[int, Mapping[str, Any]]) -> Iterator[str]:
    seen: set[str] = set()
    for one in events:
        name, text = f"event {one['id']}", str(one["text"])
        if one["id"] in seen:
            yield f"{name} is there twice"
        seen.add(one["id"])
        if not text.startswith(f'{{"id":"{one["id"]}","at_us":'):
            yield f"{name}: its text is of another event"
        if one.get("block") is None:
            yield f"{name} is not sealed: no block holds it, so anything may have been done to it"
            continue
        block = blocks.get(one["block"])
        leaf = hashlib.sha256(b"\0" + text.encode()).digest()
        if block is None:
            yield f"{name}: block {one['block']} is not in the file, or not proven"
        elif _root(leaf, one["position"], block["count"], one["path"]) != block["root"]:
            yield f"{name}: its text, its place or its path was changed after it was sealed in block {one['block']}"


def _told(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event's text with what its payload adds to it, if it is not erased."""
    told: dict[str, Any] = json.loads(event["text"])
    payload = json.loads(event.get("payload") or "{}")
    said = told["detail"] if isinstance(told.get("detail"), dict) else {}
    return {**told, **payload, "detail": {**said, **payload.get("detail", {})}}


def _check_payloads(events: Iterable[Mapping[str, Any]], erasures: Sequence[Mapping[str, Any]], notes: list[str]) -> Iterator[str]:
    """A payload is the one that the text has the salted digest of, or was erased by something that is proven; `notes` tell by what."""
    erased, told = _erased([_told(one) for one in erasures]), dict[str, int]()
    for one in [*events, *(one for one in erasures if one["payload"])]:
        text, payload = str(one["text"]), one.get("payload")
        if payload is None and text[-77:-66] == '"payload":"':
            before, what = erased.get(one["id"], (0, ""))
            told[what] = told.get(what, 0) + 1
            if json.loads(text)["at_us"] >= before:
                yield f"event {one['id']}: its payload is gone, and nothing erased it"
        elif payload is not None and hashlib.sha256(b"\2" + bytes.fromhex(one["salt"]) + payload.encode()).hexdigest() != text[-66:-2]:
            yield f"event {one['id']}: its payload was changed after it was recorded"
    notes += [f"{count} payloads were erased on {what}" for what, count in told.items() if what]


def _erased(proofs: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, str]]:
    """Each erased event with the moment before which it must have been recorded, and by whom or why it was erased."""
    asked = {one["run"] for one in proofs if one["kind"] == "run:submitted" and one["detail"].get("command") in ERASING}
    began = {one["run"]: one["at_us"] for one in proofs if one["kind"] == "run:running"}
    found: dict[str, tuple[float, str]] = {}
    for one in proofs:
        run, days, events = one["run"], one["detail"].get("days"), one["detail"].get("events")
        over, made = type(days) is int and days >= LEAST_DAYS, days is None and run in asked and began.get(run, one["at_us"]) < one["at_us"]
        if one["kind"] == "payload:erased" and type(events) is list and (over or made):
            why = f"{one['at'][:10]} " + (f"because {days} days were over" if over else f"by {one['actor']} under run {run}")
            found |= dict.fromkeys(map(str, events), (one["at_us"] - (days or 0) * 86_400_000_000, why))
    return found


def _root(leaf: bytes, position: int, count: int, path: Sequence[Sequence[str]]) -> str:
    """By RFC 9162: the sides follow from the position, so that those in the file prove nothing and are not looked at."""
    node, last, hash_ = position, count - 1, leaf
    if not 0 <= position < count:
        return ""
    for _, digest in path:
        other = bytes.fromhex(digest)
        if last == 0 or len(other) != 32:
            return ""
        if node % 2 or node == last:
            hash_ = hashlib.sha256(b"\1" + other + hash_).digest()
            while node % 2 == 0 and node:
                node, last = node >> 1, last >> 1
        else:
            hash_ = hashlib.sha256(b"\1" + hash_ + other).digest()
        node, last = node >> 1, last >> 1
    return hash_.hex() if last == 0 else ""


def _check_story(events: Sequence[Mapping[str, Any]], run: Mapping[str, Any]) -> Iterator[str]:
    status, before = "", 0
    for one in events:
        if one["run"] != run["id"]:
            yield f"event {one['id']} is about another run"
        if one["at_us"] < before:
            yield f"event {one['id']} is out of order"
        before = one["at_us"]
        kind, _, to = one["kind"].partition(":")
        if kind != "run" or to not in STATUSES:
            continue
        if to != status and to not in MOVES.get(status, ()):
            how = f"cannot go from {status.replace('_', ' ')} to" if status else "cannot begin as"
            yield f"event {one['id']}: a run {how} {to.replace('_', ' ')}, so an event before it is missing"
        status = to
    if status != run["status"]:
        yield f"the run is said to be {run['status']}, and its events end with {status or 'nothing'}"
    asked = [one["detail"] for one in events if isinstance(one.get("detail"), dict) and isinstance(one["detail"].get("arguments"), dict)]
    if asked and _given(asked[-1]["arguments"]) != _given(run["arguments"]):
        yield "the run's arguments are not those that were recorded"
    if asked and asked[0].get("command") != run["command"]:
        yield "the run's command is not the one that was recorded"


def _given(value: Any) -> Any:
    """What is null was not given; the record leaves it out."""
    return {name: _given(one) for name, one in value.items() if one is not None} if isinstance(value, dict) else value


def _check_policies(
    events: Sequence[Mapping[str, Any]], policies: Sequence[Mapping[str, Any]], erasures: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Where an erasure names a policy, its text no longer names whoever was erased, and is not the one with this digest."""
    known = set()
    erased = {digest for one in erasures for digest in _told(one)["detail"].get("policies", ())}
    for one in policies:
        known.add(one["digest"])
        if hashlib.sha256(one["text"].encode()).hexdigest() != one["digest"] and one["digest"] not in erased:
            yield f"policy {one['digest'][:12]}: its text was changed"
    named = {one["detail"]["policy"] for one in events if isinstance(one.get("detail"), dict) and one["detail"].get("policy")}
    yield from (f"policy {digest[:12]} is named by an event and its text is not in the file" for digest in sorted(named - known))


def _check_plan(events: Sequence[Mapping[str, Any]], run: Mapping[str, Any]) -> Iterator[str]:
    plan, digest = run.get("plan"), run.get("digest")
    if not plan or not digest:
        return
    signed = {"command": run["command"], "code": run["code_version"], "arguments": run["arguments"], "steps": plan["steps"]}
    signed |= {"watched": plan["watched"]} | ({"shape": plan["shape"]} if plan.get("shape") else {})
    if hashlib.sha256(_canonical(signed)).hexdigest() != digest:
        yield "the plan is not the one with this digest: plan, arguments, command or code version were changed"
    moved = [one["detail"]["digest"] for one in events if one["kind"] in _PLANNED and one["detail"].get("digest")]
    if moved and moved[-1] != digest:
        yield "the plan's digest is not the one that was recorded"
    open_for = ""
    for one in events:
        if one["kind"] == "run:awaiting_approval":
            open_for = one["detail"].get("digest", "")
        elif one["kind"] == "decision:approve" and open_for and one["detail"].get("digest") != open_for:
            yield f"event {one['id']}: {one['actor']} approved another plan than the one that was asked about"


_PLANNED: Final = frozenset({"run:awaiting_approval", "run:queued", "run:running"})


def _canonical(value: Any) -> bytes:
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return {name: _plain(one) for name, one in value.items()} if isinstance(value, dict) else value


def _notes(file: Mapping[str, Any], keys: Keys, *, own_keys: bool, own_anchors: bool) -> Iterator[str]:
    if own_keys:
        known = ", ".join(sorted(keys)) or "none"
        yield f"the key is the file's own ({known}): compare it with the one that the operators published, or give --public-key"
    if own_anchors:
        what = "the anchors are the file's own" if file["anchors"] else "there are no anchors in the file"
        yield f"{what}: whoever has the signing key could have made up the whole; give --anchors"
    yield "that nothing was recorded about this run afterwards, this file cannot show"


if __name__ == "__main__":
    sys.exit(main())
