"""Where a sandbox lives on disk, and the note by which clients find a running one."""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opslib.sandbox.core.private_files import write_private
from opslib.sandbox.core.process import ProcessId

HOME_VARIABLE = "OPSLIB_SANDBOX_HOME"
_SETTINGS = "settings.json"
_EARLIER_SETTINGS = "knobs.json"  # the name that earlier versions wrote


@dataclass(frozen=True)
class Home:
    """The folder of one sandbox."""

    root: Path

    @classmethod
    def find(cls, given: str | None) -> "Home":
        """Take `--home`, else the environment, else `~/.opslib/sandbox`."""
        chosen = given or os.environ.get(HOME_VARIABLE) or str(Path.home() / ".opslib" / "sandbox")
        return cls(Path(chosen).expanduser().resolve())

    @property
    def note(self) -> Path:
        """`sandbox.json`: there while the sandbox answers."""
        return self.root / "sandbox.json"

    @property
    def config(self) -> Path:
        """`config.json`: the ecosystem's own workspace file."""
        return self.root / "config.json"

    @property
    def authority(self) -> Path:
        """`ca.pem`: the only authority that a sandbox's client trusts."""
        return self.root / "ca.pem"

    @property
    def azure_authority(self) -> Path:
        """`ca-azure.pem`: trusted by a client that uses Azure's own names; holds `ca.pem` too."""
        return self.root / "ca-azure.pem"

    @property
    def log(self) -> Path:
        """`sandbox.log`: the log of the service itself."""
        return self.root / "sandbox.log"

    @property
    def state(self) -> Path:
        """Everything that `reset` wipes."""
        return self.root / "state"

    @property
    def private(self) -> Path:
        """Keys; survive a reset, so that a client's trust does too."""
        return self.root / "private"

    def read_settings(self) -> dict[str, Any]:
        """Return the settings that the sandbox was last started with; empty before that, and after a reset."""
        name = _SETTINGS if (self.state / _SETTINGS).exists() else _EARLIER_SETTINGS
        try:
            settings: dict[str, Any] = json.loads((self.state / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return settings

    def write_settings(self, settings: dict[str, Any]) -> None:
        """Write the settings atomically."""
        temporary = self.state / (_SETTINGS + ".part")
        temporary.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        temporary.replace(self.state / _SETTINGS)

    def read_note(self) -> dict[str, Any] | None:
        """Return the note of a running sandbox; None when there is none, or it is a dead one's."""
        try:
            note: dict[str, Any] = json.loads(self.note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return note if self.process(note) is not None else None

    def process(self, note: dict[str, Any]) -> ProcessId | None:
        """Return the daemon that a note names, after checking that this pid is still that process."""
        process = ProcessId(int(note["pid"]), int(note["pid_started_ticks"]))
        return process if process.alive() else None

    def write_note(self, note: dict[str, Any]) -> None:
        """Publish the note at once and whole; it holds the identity secret, so only its owner reads it."""
        temporary = self.note.with_suffix(".part")
        write_private(temporary, json.dumps(note, indent=2).encode() + b"\n")
        temporary.replace(self.note)

    def identity_header(self) -> str:
        """Return the secret that the managed-identity endpoint requires, made on first use."""
        path = self.private / "identity-header"
        if not path.exists():
            write_private(path, secrets.token_hex(16).encode())
        return path.read_text(encoding="ascii")

    def prepare(self) -> None:
        """Make the folders."""
        for folder in (self.root, self.state, self.private, self.state / "blobs", self.state / "instances"):
            folder.mkdir(parents=True, exist_ok=True)
        for folder in (self.state, self.private):  # endpoint keys are in one, the sandbox's own in the other
            folder.chmod(0o700)
