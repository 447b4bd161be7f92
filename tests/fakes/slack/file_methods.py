"""Files in three calls: a place for the bytes, the bytes, and only then the message that shows them (docs.slack.dev, files.*External)."""

from dataclasses import dataclass, field

from tests.fakes.slack.chat_methods import writable
from tests.fakes.slack.worlds import Json, SlackSays, World

LONGEST_ALT = 1_000


@dataclass
class Upload:
    """A file on its way; `message` is the ts of the message that shows it, empty while nobody sees it."""

    id: str
    name: str
    length: int
    content: bytes | None = None
    title: str = ""
    channel: str = ""
    message: str = ""
    alt: str = ""


@dataclass
class Uploads:
    """Every file that was begun, by its id; `base` is where this Slack is."""

    base: str = ""
    begun: dict[str, Upload] = field(default_factory=dict)

    @property
    def shown(self) -> list[Upload]:
        return [one for one in self.begun.values() if one.message]

    def place(self, world: World, args: Json) -> Json:
        """files.getUploadURLExternal."""
        name, length = str(args.get("filename") or ""), int(args.get("length") or 0)
        if not name or length <= 0:
            raise SlackSays("invalid_arguments")
        if len(alt := str(args.get("alt_txt") or "")) > LONGEST_ALT:
            raise SlackSays("alt_txt_too_large")
        one = Upload(world.mint("F"), name, length, alt=alt)
        self.begun[one.id] = one
        return {"upload_url": f"{self.base}/upload/v1/{one.id}", "file_id": one.id}

    def receive(self, id_: str, content: bytes) -> None:
        """The bytes, at the address that `place` gave."""
        if (one := self.begun.get(id_)) is None:
            raise SlackSays("file_not_found")
        if len(content) != one.length:
            raise SlackSays("length_mismatch")
        one.content = content

    def complete(self, world: World, args: Json) -> Json:
        """files.completeUploadExternal: a message of the app's shows the file."""
        channel = writable(world, {"channel": args.get("channel_id")})
        asked = args.get("files") or []
        found = [self.begun.get(str(one.get("id"))) for one in asked]
        if not found or any(one is None or one.content is None for one in found):
            raise SlackSays("file_not_found")
        message = world.add_message(channel, str(args.get("initial_comment") or ""), [], thread=args.get("thread_ts"))
        for one, said in zip(found, asked, strict=True):
            if one is not None:
                one.title, one.channel, one.message = str(said.get("title") or ""), channel.id, message.ts
        message.files = [{"id": one.id, "name": one.name, "title": one.title, "size": one.length} for one in found if one]
        return {"files": [{"id": one.id, "title": one.title} for one in found if one]}
