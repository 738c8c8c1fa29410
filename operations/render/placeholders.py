"""Secrets that a rendered stack takes from its environment file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from settings import Settings
from settings.credential import Credential
from settings.credentials import required_credentials

ENVIRONMENT_FILE, EXAMPLE_FILE = ".env", ".env.example"

TLS_CERTIFICATE = Credential("", "TLS_CERTIFICATE", None, "the gateway's certificate: PEM text in single quotes")
TLS_PRIVATE_KEY = Credential("", "TLS_PRIVATE_KEY", None, "its private key: PEM text in single quotes")
TLS_PAIR = (TLS_CERTIFICATE, TLS_PRIVATE_KEY)
"""The self-signed certificate, which only Pulumi generates. No configuration key supplies it."""


@dataclass(frozen=True)
class Placeholders:
    """The credentials of a stack, each with a token that replaces its value while the program runs.

    A token has letters and digits only, so that escaping doesn't change it. The values that Compose substitutes must
    also be like this.
    """

    by_credential: Mapping[Credential, str | None]
    """Maps each credential to its default value; None if the environment must supply it."""

    @classmethod
    def of(cls, settings: Settings, supplied: Collection[str]) -> Placeholders:
        """Return the credentials that have a value in the stack.

        Args:
            settings: the stack's settings.
            supplied: keys of the credentials that its configuration contains, encrypted.
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
    def required(self) -> bool:
        """Return whether an environment file is required."""
        return None in self.by_credential.values()

    def used_in(self, text: str) -> Placeholders:
        """Return the credentials whose tokens the text contains."""
        return Placeholders({one: default for one, default in self.by_credential.items() if token(one) in text})

    def to_compose(self, text: str) -> str:
        """Return the text with each token replaced by Compose's reference to the variable."""
        for credential, default in self.by_credential.items():
            missing = f":?set {credential.variable} in the environment file"
            reference = f"${{{credential.variable}{missing if default is None else f':-{default}'}}}"
            text = text.replace(token(credential), reference)
        return text

    def to_manifest(self, text: str) -> str:
        """Return the text with each token replaced by a visible placeholder: `REPLACE_WITH_<variable>`."""
        for credential in self.by_credential:
            text = text.replace(token(credential), f"REPLACE_WITH_{credential.variable}")
        return text

    def certificate_instructions(self, domain: str) -> list[str]:
        """Return the lines of the example that explain how to create the certificate; empty without one."""
        if TLS_CERTIFICATE not in self.by_credential:
            return []
        return [
            "A self-signed certificate and its key; put their texts between single quotes, over several lines:",
            "  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -keyout tls.key "
            f"-out tls.crt -subj '/CN={domain}' -addext 'subjectAltName=DNS:*.{domain}'",
        ]

    def example(self, *introduction: str) -> str:
        """Return the environment file with an introduction and every variable, without secrets."""
        lines = [f"# {line}" for line in introduction]
        for credential, default in self.by_credential.items():
            lines += ["", f"# {credential.purpose}"]
            lines += [f"{credential.variable}=" if default is None else f"# {credential.variable}={default}"]
        return "\n".join(lines) + "\n"


def token(credential: Credential) -> str:
    """Return the token of a credential."""
    return f"PLACEHOLDER0{credential.variable.replace('_', '0')}0PLACEHOLDER"
