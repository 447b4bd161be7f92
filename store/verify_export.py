"""Check an export without a database and without a hub. A program of its own that shares no code with whoever wrote the files.

    python store/verify_export.py FOLDER [--public-key audit-key.pub] [--anchors anchors.jsonl] [--json]

It needs Python and cryptography. FOLDER holds manifest.json and the files that it names. What they claim, and this recomputes:

- the manifest is signed with Ed25519 over "countersign export manifest 1", a newline and its canonical JSON (sorted keys, no spaces);
- every file has the SHA-256, the size and the number of lines that the manifest says;
- the blocks are signed, chained without a gap, and in the anchor file when one is given;
- the events are in order and of that time; an event's leaf is SHA-256(0x00, its text in UTF-8), and the leaves of a block have its root
  (RFC 6962 section 2.1), so that no event of a block that lies within the time was changed, left out or put in.
- its text ends with SHA-256(0x02, salt, payload); both may be gone where an event says so whose path leads to the root of a signed block.

With a public key and anchors from elsewhere it proves that this was recorded then; with those of the manifest alone, only that the files
agree with each other. Files are read line by line.
"""

import argparse
import gzip
import hashlib
import json
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

FORMAT: Final = "countersign export 1"
SIGNED: Final = b"countersign export manifest 1\n"
HEADER: Final = ("n", "prev", "root", "count", "first_us", "last_us", "sealed_us", "key_id")
ERASING: Final = ("people erase",)
LEAST_DAYS: Final = 30
Keys = dict[str, Ed25519PublicKey]
Block = Mapping[str, Any]


class NotAnExport(Exception):
    """The folder cannot be checked; the message is one sentence."""


@dataclass
class Report:
    """What was checked; `problems` are sentences and empty when all is well, `notes` say what these files alone cannot show."""

    rows: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns 0 when the export holds and 1 when it does not or could not be read."""
    parser = argparse.ArgumentParser(prog="verify_export", description="Check an export offline, or name what is wrong with it.")
    parser.add_argument("folder", type=Path, help="where manifest.json and the files that it names are")
    parser.add_argument("--public-key", type=Path, help="PEM file with the sealers' public keys, from somebody you trust")
    parser.add_argument("--anchors", type=Path, help="the anchor file, from where the database's host cannot change it")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    given = parser.parse_args(arguments)
    try:
        keys, anchors = given.public_key and _read(given.public_key), given.anchors and _read(given.anchors)
        report = verify(given.folder, keys=keys, anchors=anchors)
    except NotAnExport as error:
        report = Report(problems=[str(error)])
    counts = ", ".join(f"{count} {kind}" for kind, count in report.rows.items()) or "nothing"
    plain = "\n".join([*(report.problems or ["the export holds"]), *(f"note: {one}" for one in report.notes), f"read: {counts}"])
    sys.stdout.write((json.dumps(asdict(report) | {"ok": not report.problems}) if given.json else plain) + "\n")
    return 1 if report.problems else 0


def verify(folder: Path, *, keys: bytes | None = None, anchors: bytes | None = None) -> Report:
    """Checks the files in a folder; `keys` is PEM and `anchors` JSON lines, both from elsewhere. Raises NotAnExport."""
    report = Report()
    try:
        whole = json.loads(_read(folder / "manifest.json"))
        manifest, own = whole["manifest"], keys is None
        known = _keys_in(str(whole["public_key"]).encode() if own else keys or b"")
        report.problems += _check_manifest(whole, known)
        report.problems += _check_files(folder, manifest["files"], report.rows)
        if report.problems:
            return report
        blocks: dict[int, Block] = {}
        report.problems += _check_blocks(_lines(folder, manifest, "blocks"), known, blocks, manifest["blocks"])
        report.problems += _check_anchors(blocks, _anchors_in(anchors)) if anchors is not None else ()
        report.problems += _check_events(_lines(folder, manifest, "events"), blocks, manifest, report.notes)
        erasures = {one["id"]: one for one in _lines(folder, manifest, "erasures")}
        report.problems += _check_erasures(erasures.values(), known)
        report.problems += _check_payloads(_lines(folder, manifest, "events"), [*erasures.values()], report.notes)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, EOFError, OSError, zlib.error) as error:
        raise NotAnExport(f"The export is damaged: {type(error).__name__} at {error}.") from None
    report.notes += ["the key is the manifest's own: compare it with the one that the operators published"] if own else []
    report.notes += ["no anchors were given: whoever has the signing key could have made up the whole"] if anchors is None else []
    return report


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotAnExport(f"{path} cannot be read: {error.strerror}.") from None


def _keys_in(pem: bytes) -> Keys:
    end, found = b"-----END PUBLIC KEY-----", {}
    for one in pem.split(end)[:-1]:
        key = load_pem_public_key(one.strip() + b"\n" + end + b"\n")
        if isinstance(key, Ed25519PublicKey):
            found[hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]] = key
    return found


def _check_manifest(whole: Mapping[str, Any], keys: Keys) -> Iterator[str]:
    if whole["manifest"]["format"] != FORMAT:
        yield f"the manifest does not say that it is '{FORMAT}'"
    if whole["key_id"] not in keys:
        yield f"the manifest's key {whole['key_id']} is not among those that are known"
        return
    written = json.dumps(whole["manifest"], sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    try:
        keys[whole["key_id"]].verify(bytes.fromhex(whole["signature"]), SIGNED + written.encode())
    except InvalidSignature:
        yield "the manifest or its signature was changed"


def _check_files(folder: Path, files: Sequence[Mapping[str, Any]], rows: dict[str, int]) -> Iterator[str]:
    for one in files:
        path = folder / Path(str(one["name"])).name
        if not path.is_file():
            yield f"{one['name']} is not in the folder"
            continue
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != one["sha256"] or path.stat().st_size != one["bytes"]:
            yield f"{one['name']} is not the file that was signed"
            continue
        count = sum(1 for _ in _lines_of(path))
        rows[one["kind"]] = rows.get(one["kind"], 0) + count
        if count != one["rows"]:
            yield f"{one['name']} has {count} lines, not {one['rows']}"


def _lines(folder: Path, manifest: Mapping[str, Any], kind: str) -> Iterator[Any]:
    for one in manifest["files"]:
        if one["kind"] == kind:
            yield from _lines_of(folder / Path(str(one["name"])).name)


def _lines_of(path: Path) -> Iterator[Any]:
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        yield from map(json.loads, file)


def _check_blocks(given: Iterator[Block], keys: Keys, blocks: dict[int, Block], ends: Sequence[int]) -> Iterator[str]:
    """Also fills `blocks` by number with those whose signature holds."""
    prev = ""
    for one in given:
        name = f"block {one['n']}"
        if one["key_id"] not in keys:
            yield f"{name}: the key {one['key_id']} is not among those that are known"
            continue
        try:
            keys[one["key_id"]].verify(bytes.fromhex(one["signature"]), _header(one))
        except InvalidSignature:
            yield f"{name}: its header or its signature was changed"
            continue
        if one["n"] - 1 in blocks and one["prev"] != prev:
            yield f"{name} does not follow block {one['n'] - 1}"
        blocks[one["n"]], prev = one, hashlib.sha256(_header(one)).hexdigest()
    if missing := set(range(ends[0], ends[1] + 1)) - set(blocks) if ends else ():
        yield f"{len(missing)} blocks are missing, the first is block {min(missing)}"


def _header(block: Block) -> bytes:
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


def _check_anchors(blocks: Mapping[int, Block], anchors: Mapping[int, Mapping[str, Any]]) -> Iterator[str]:
    for n, block in blocks.items():
        anchor = anchors.get(n)
        if anchor is None:
            yield f"block {n} is not among the anchors"
        elif (anchor.get("digest"), anchor.get("signature")) != (hashlib.sha256(_header(block)).hexdigest(), block["signature"]):
            yield f"block {n} is not the block that was anchored"


def _check_events(events: Iterator[Any], blocks: dict[int, Block], manifest: Mapping[str, Any], notes: list[str]) -> Iterator[str]:
    """A block's leaves are kept until it is whole; what is left in the end are blocks that began before the time or end after it."""
    open_: dict[int, dict[int, bytes]] = {}
    whole: set[int] = set()
    loose, before = 0, manifest["since_us"]
    for one in events:
        name, at_us = f"event {one['id']}", json.loads(one["text"])["at_us"]
        if not one["text"].startswith(f'{{"id":"{one["id"]}","at_us":') or not before <= at_us < manifest["until_us"]:
            yield f"{name} is of another time, out of order, or its text is of another event"
        before = at_us
        block = blocks.get(one["block"]) if one["block"] is not None else None
        if block is None:
            loose += 1
            if one["block"] is not None:
                yield f"{name}: block {one['block']} is not in the export, or not proven"
            continue
        leaves = open_.setdefault(block["n"], {})
        if one["position"] in leaves or block["n"] in whole:
            yield f"{name} is there twice in block {block['n']}"
        leaves[one["position"]] = hashlib.sha256(b"\0" + one["text"].encode()).digest()
        if len(leaves) == block["count"]:
            del open_[block["n"]]
            whole.add(block["n"])
            if sorted(leaves) != list(range(block["count"])) or _root([leaves[n] for n in sorted(leaves)]).hex() != block["root"]:
                yield f"block {block['n']}: an event was changed, left out or put in after it was sealed"
    for n, block in blocks.items():
        if n not in whole and block["first_us"] >= manifest["since_us"] and block["last_us"] < manifest["until_us"]:
            yield f"block {n}: {block['count'] - len(open_.pop(n, {}))} of its {block['count']} events are missing"
    parts = sum(len(one) for one in open_.values())
    notes += [f"{parts} events are in blocks that reach beyond this time, so only signed with them as a whole"] if parts else []
    notes += [f"{loose} events were not sealed yet: no block holds them, so anything may have been done to them"] if loose else []


def _check_erasures(erasures: Iterable[Mapping[str, Any]], keys: Keys) -> Iterator[str]:
    for one in erasures:
        block, leaf = one["block"], hashlib.sha256(b"\0" + str(one["text"]).encode()).digest()
        if (
            not block
            or _root_of(leaf, one["position"], block["count"], one["path"]) != block["root"]
            or not one["text"].startswith(f'{{"id":"{one["id"]}"')
        ):
            yield f"event {one['id']}, which erased something, is not sealed, or was changed after it was sealed"
        else:
            blocks: dict[int, Block] = {}
            yield from _check_blocks(iter([block]), keys, blocks, ())


def _told(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event's text with what its payload adds to it, if it is not erased."""
    told: dict[str, Any] = json.loads(event["text"])
    payload = json.loads(event.get("payload") or "{}")
    said = told["detail"] if isinstance(told.get("detail"), dict) else {}
    return {**told, **payload, "detail": {**said, **payload.get("detail", {})}}


def _check_payloads(events: Iterable[Mapping[str, Any]], erasures: Sequence[Mapping[str, Any]], notes: list[str]) -> Iterator[str]:
    """A payload is the one that the text has the salted digest of, or was erased by something that is proven; `notes` tell by what."""
    erased, told = _erased([_told(one) for one in erasures]), dict[str, int]()
    for one in chain(events, (one for one in erasures if one["payload"])):
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


def _root_of(leaf: bytes, position: int, count: int, path: Sequence[Sequence[str]]) -> str:
    """By RFC 9162 section 2.1.3.2; the sides follow from the position."""
    node, last, hash_ = position, count - 1, leaf
    for _, digest in path:
        other = bytes.fromhex(digest)
        if last <= 0 or len(other) != 32:
            return ""
        if node % 2 or node == last:
            hash_ = hashlib.sha256(b"\1" + other + hash_).digest()
            while node % 2 == 0 and node:
                node, last = node >> 1, last >> 1
        else:
            hash_ = hashlib.sha256(b"\1" + hash_ + other).digest()
        node, last = node >> 1, last >> 1
    return hash_.hex() if last == 0 else ""


def _root(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + _root(leaves[:split]) + _root(leaves[split:])).digest()


if __name__ == "__main__":
    sys.exit(main())
