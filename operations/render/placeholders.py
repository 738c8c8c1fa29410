"""Secrets that a rendered stack takes from its environment file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from settings import Settings
from settings.credential import Credential
from settings.credentials import required_credentials

TLS_CERTIFICATE = Credential("", "TLS_CERTIFICATE", None, "the gateway's certificate: PEM text in single quotes")
TLS_PRIVATE_KEY = Credential("", "TLS_PRIVATE_KEY", None, "its private key: PEM text in single quotes")
TLS_PAIR = (TLS_CERTIFICATE, TLS_PRIVATE_KEY)
"""What Pulumi makes by itself where TLS is self-signed, and nobody else does. No configuration key supplies it."""


@dataclass(frozen=True)
class Placeholders:
    """The credentials of a stack, each with a mark that stands for its value while the program runs.

    A mark is made of letters and digits, so that it passes every escaping unchanged; the values that Compose puts in
    their places have to be so, too.
    """

    by_credential: Mapping[Credential, str | None]
    """Credential to the value used when the environment names none; None where one must be named."""

    @classmethod
    def of(cls, settings: Settings, supplied: Collection[str]) -> Placeholders:
        """Those of the credentials that have a value in the stack.

        Args:
            settings: of the stack.
            supplied: keys of the credentials that its configuration holds, encrypted.
        """
        well_known = settings.credentials == "well-known"
        defaults: dict[Credential, str | None] = {}
        for credential in required_credentials(settings):
            if not well_known or credential.key in supplied:
                defaults[credential] = None
            elif credential.well_known is not None:
                defaults[credential] = credential.well_known
        if settings.gateway.enabled and settings.gateway.tls.source == "self-signed":
            defaults |= dict.fromkeys(TLS_PAIR)
        return cls(defaults)

    @property
    def marks(self) -> dict[str, str]:
        """Configuration key to mark."""
        return {one.key: mark(one) for one in self.by_credential if one not in TLS_PAIR}

    @property
    def required(self) -> bool:
        """Whether an environment file must be there."""
        return None in self.by_credential.values()

    def used_in(self, text: str) -> Placeholders:
        """Those that the text asks for."""
        return Placeholders({one: default for one, default in self.by_credential.items() if mark(one) in text})

    def insert(self, text: str) -> str:
        """The text with each mark replaced by Compose's reference to the variable."""
        for credential, default in self.by_credential.items():
            missing = f":?set {credential.variable} in the environment file"
            reference = f"${{{credential.variable}{missing if default is None else f':-{default}'}}}"
            text = text.replace(mark(credential), reference)
        return text

    def instruct(self, text: str) -> str:
        """The text with each mark replaced by what a person sees and replaces: `REPLACE_WITH_<variable>`."""
        for credential in self.by_credential:
            text = text.replace(mark(credential), f"REPLACE_WITH_{credential.variable}")
        return text

    def example(self, *introduction: str) -> str:
        """The environment file with every variable and no secret in it, below an introduction."""
        lines = [f"# {line}" for line in introduction]
        for credential, default in self.by_credential.items():
            lines += ["", f"# {credential.purpose}"]
            lines += [f"{credential.variable}=" if default is None else f"# {credential.variable}={default}"]
        return "\n".join(lines) + "\n"


def mark(credential: Credential) -> str:
    """What stands for a credential's value."""
    return f"PLACEHOLDER0{credential.variable.replace('_', '0')}0PLACEHOLDER"
