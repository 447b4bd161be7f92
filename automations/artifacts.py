"""Keeping a file that a step leaves: redacted, its row first, then its bytes, and only then is it there for anybody."""

import dataclasses
import hashlib
import logging
from typing import Final

from countersign.artifacts import Artifact
from countersign.errors import StepFailed
from store.artifacts import NewArtifact, RunIsFull, begin_artifact, note_stored
from store.artifacts import key_of as key_of
from store.journals import StepKey
from store.objects import ObjectsAway

from .redactions import Redactor
from .services import Services

_log: Final = logging.getLogger(__name__)


async def keep(services: Services, key: StepKey, redactor: Redactor, artifact: Artifact) -> None:
    """Keeps it; one of the same name in this run is replaced, and the very same one is left as it is, so a repeated step does no harm.

    Raises StepFailed in a sentence, and LostClaim when this worker's claim has ended.
    """
    clean = _redacted(services, redactor, artifact)
    new = NewArtifact(clean.name, clean.content_type, len(clean.content), hashlib.sha256(clean.content).hexdigest())
    try:
        async with services.transaction() as session:
            id_ = await begin_artifact(session, key, new)
        if id_ is None:
            return
        await services.objects.put(key_of(key.run_id, id_), clean.content)
    except RunIsFull as error:
        raise StepFailed(f"the artifact {clean.name} was not kept: {error}") from None
    except ObjectsAway as error:
        _log.error("the artifact %s of run %s was not kept: %s", clean.name, key.run_id, error)
        raise StepFailed(f"the artifact {clean.name} was not kept: the place for it cannot be reached") from None
    async with services.transaction() as session:
        await note_stored(session, key, id_, clean.name)


def _redacted(services: Services, redactor: Redactor, artifact: Artifact) -> Artifact:
    """Text with dots for its secrets; what is no text cannot be mended, and is refused when it holds one."""
    name = services.redactor.clean(redactor.clean(artifact.name))
    if name != artifact.name:
        raise StepFailed("an artifact was not kept: its name holds a secret")
    # One letter for each byte, so that a secret's letters are found between bytes that are no text.
    letters = artifact.text if artifact.text is not None else artifact.content.decode("latin-1")
    clean = services.redactor.clean(redactor.clean(letters))
    if clean == letters:
        return artifact
    if artifact.text is None:
        raise StepFailed(f"the artifact {artifact.name} was not kept: it holds a secret, and is no text from which that could be taken out")
    return dataclasses.replace(artifact, content=clean.encode())
