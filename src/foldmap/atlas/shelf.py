"""Models that a file names instead of holding: constants of a release, told apart by their SHA-256.

Every layer has a shelf, the folder of the models that ship with it. A file names one of them in the place where it
would hold it, in about 150 bytes; a model of the user's own is on no shelf, and goes into the file.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from foldmap.atlas.jsontext import dump_json, load_json
from foldmap.atlas.reader import FoldFile
from foldmap.errors import MapFormatError, ModelError
from foldmap.version import __version__

MAX_REFERENCE_BYTES = 1024
_START = b'{"name":'
"""No safetensors file starts so: its first eight bytes are the length of its header, and this would be 4 x 10^18."""
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ModelReference:
    """A shipped model, as a file names it."""

    name: str  # of the shipped file, without its suffix
    sha256: str  # of that file, 64 hex digits
    release: str  # a version of foldmap that ships it

    def to_bytes(self) -> bytes:
        """What stands in the file where the model would be."""
        text = dump_json("model", {"name": self.name, "release": self.release, "sha256": self.sha256})
        return text.encode()

    @staticmethod
    def from_bytes(what: str, payload: bytes) -> ModelReference | None:
        """The reference that a payload of the table ``models`` is; None for a model itself.

        Raises `MapFormatError`: it starts like a reference and is none; says ``what`` it is.
        """
        if not payload.startswith(_START):
            return None
        cure = "copy or fold the map again"
        if len(payload) > MAX_REFERENCE_BYTES:
            raise MapFormatError(f"{what} is a reference of {len(payload)} bytes", cure)
        try:
            said = load_json(what, payload.decode())
        except UnicodeDecodeError as error:
            raise MapFormatError(f"{what} is a reference that is no text", cure) from error
        fields = [said.get(key) if isinstance(said, dict) else None for key in ("name", "sha256", "release")]
        name, sha256, release = (field if isinstance(field, str) else "" for field in fields)
        if not (_NAME.fullmatch(name) and _SHA256.fullmatch(sha256) and 0 < len(release) <= 64):
            raise MapFormatError(f"{what} is a reference without a name, a release and a SHA-256", cure)
        return ModelReference(name, sha256, release)


@dataclass(frozen=True)
class Shelf:
    """The models that ship with a layer: NAME.safetensors of each in ``folder``."""

    folder: Path

    def stored(self, payload: bytes, *, embed: bool = False) -> bytes | None:
        """The bytes of a reference to a whole model file; None for one that does not ship, or is to be embedded."""
        if embed:
            return None
        for path in sorted(self.folder.glob("*.safetensors")):
            if path.stat().st_size == len(payload) and path.read_bytes() == payload:
                return ModelReference(path.stem, hashlib.sha256(payload).hexdigest(), __version__).to_bytes()
        return None

    def read(self, file: FoldFile, layer: str, name: str) -> bytes:
        """A model of a layer: what the file holds, or the shipped one that it names.

        Raises `ModelError`: the file names a model that this installation does not have; says which release has it.
        """
        payload = file.model(layer, name)
        what = f"{file.path.name}: model {name!r} of layer {layer!r}"
        reference = ModelReference.from_bytes(what, payload)
        return payload if reference is None else self._shipped(what, reference)

    def _shipped(self, what: str, reference: ModelReference) -> bytes:
        path = self.folder / f"{reference.name}.safetensors"
        said = f"{what} is {reference.name} (SHA-256 {reference.sha256[:12]}..) of foldmap {reference.release}"
        cure = f"install foldmap {reference.release}, or fold the map there again with --embed-model"
        try:
            payload = path.read_bytes()
        except OSError as error:
            raise ModelError(f"{said}, which is not installed here (foldmap {__version__})", cure) from error
        found = hashlib.sha256(payload).hexdigest()
        if found != reference.sha256:
            raise ModelError(f"{said}; the {path.name} that is installed here has SHA-256 {found[:12]}..", cure)
        return payload


def named_models(file: FoldFile, layer: str) -> dict[str, str]:
    """Which of a layer's models are named and not held: ``NAME of foldmap RELEASE, SHA-256 ...`` by model."""
    found = {}
    for model in file.layer(layer).models:
        if model.payload_bytes <= MAX_REFERENCE_BYTES:
            reference = ModelReference.from_bytes(f"model {model.name!r}", file.model(layer, model.name))
            if reference is not None:
                found[model.name] = f"{reference.name} of foldmap {reference.release}, SHA-256 {reference.sha256}"
    return found
