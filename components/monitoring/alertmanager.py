"""Alertmanager's configuration: receivers, grouping and inhibition. A pure function.

Secrets are files that Alertmanager reads itself; none passes through here.
"""

from __future__ import annotations

from typing import Any

from settings.credential import Credential
from settings.credentials import ALERT_EMAIL, ALERT_WEBHOOK, HEARTBEAT_WEBHOOK
from settings.monitoring import EmailSettings, ReceiversSettings

TEMPLATES_DIRECTORY = "/etc/alertmanager/templates"
"""Mount point of `assets/alertmanager/` and of the generated link to Grafana."""

ONCALL, WATCHDOG, NULL_RECEIVER = "on-call", "watchdog", "none"
"""Names of the receivers."""

SECRETS_DIRECTORY = "/run/secrets/alertmanager"
"""Mounted directory with a file per secret."""

GROUP_BY = ["alertname", "workload"]


def configuration(receivers: ReceiversSettings) -> dict[str, Any]:
    """Return `alertmanager.yml` as data."""
    oncall = {"name": ONCALL, **_oncall(receivers)}
    heartbeat = _webhook(HEARTBEAT_WEBHOOK, resolved=False) if receivers.heartbeat else {}
    watchdog = {"name": WATCHDOG, **heartbeat}
    return {
        "templates": [f"{TEMPLATES_DIRECTORY}/*.tmpl"],
        "route": _routes(),
        "inhibit_rules": INHIBITIONS,
        "receivers": [oncall, watchdog, {"name": NULL_RECEIVER}],
    }


def grafana_link_template(grafana_url: str, port_forward_command: str | None = None) -> str:
    """Return the template for links from a message to Grafana; mounted together with `assets/alertmanager/`.

    Args:
        grafana_url: its address.
        port_forward_command: the command that must run before the address works.
    """
    first = f"{port_forward_command}, then " if port_forward_command else ""
    return f'{{{{ define "pti.grafana" }}}}{first}{grafana_url.rstrip("/")}{{{{ end }}}}\n'


def _routes() -> dict[str, Any]:
    return {
        "receiver": ONCALL,
        "group_by": GROUP_BY,
        "group_wait": "30s",
        "group_interval": "5m",
        "repeat_interval": "12h",
        "routes": [
            {
                "receiver": WATCHDOG,
                "matchers": ['alertname="Watchdog"'],
                "group_wait": "0s",
                "group_interval": "1m",
                "repeat_interval": "5m",
            },
            {"receiver": NULL_RECEIVER, "matchers": ['severity="info"']},
            {"receiver": ONCALL, "matchers": ['severity="critical"'], "group_wait": "10s", "repeat_interval": "1h"},
        ],
    }


INHIBITED_ALERTS = (
    "LatencyHigh|ErrorRateHigh|GatewayErrorRateHigh|AvailabilityBurn(Fast|Medium|Slow)"
    "|ServiceMetricsMissing|TargetDown|MetricsMissing"
)
"""Alerts that follow from a service that is down or missing."""

# Alertmanager treats labels that both sides lack as equal, so each rule requires that the workload, or the volume, is
# set.
INHIBITIONS: list[dict[str, Any]] = [
    {
        "source_matchers": ['severity="critical"', 'workload=~".+"'],
        "target_matchers": ['severity="warning"', 'workload=~".+"'],
        "equal": ["workload"],
    },
    {
        "source_matchers": ['alertname=~"ServiceDown|TargetMissing"', 'workload=~".+"'],
        "target_matchers": [f'alertname=~"{INHIBITED_ALERTS}"', 'workload=~".+"'],
        "equal": ["workload"],
    },
    {
        "source_matchers": ['alertname="AvailabilityBurnFast"', 'workload=~".+"'],
        "target_matchers": ['alertname="AvailabilityBurnMedium"', 'workload=~".+"'],
        "equal": ["workload"],
    },
    {
        "source_matchers": ['alertname="DiskAlmostFull"', 'volume=~".+"'],
        "target_matchers": ['alertname=~"DiskFilling|DiskFillsWithinADay"', 'volume=~".+"'],
        "equal": ["job", "instance", "namespace", "volume"],
    },
]


def _oncall(receivers: ReceiversSettings) -> dict[str, Any]:
    by_mail = {"email_configs": [_email(receivers.email)]} if receivers.email.to else {}
    return by_mail | (_webhook(ALERT_WEBHOOK, resolved=True) if receivers.webhook else {})


def _email(email: EmailSettings) -> dict[str, Any]:
    login = {"auth_username": email.username, "auth_password_file": _secret_path(ALERT_EMAIL)} if email.username else {}
    return {
        "to": ", ".join(email.to),
        "from": email.sender,
        "smarthost": email.smarthost,
        "require_tls": True,
        "send_resolved": True,
        "headers": {"Subject": '{{ template "pti.subject" . }}'},
        # Plain text, so that it can be read on a phone at night.
        "html": "",
        "text": '{{ template "pti.text" . }}',
        **login,
    }


def _webhook(url: Credential, *, resolved: bool) -> dict[str, Any]:
    return {"webhook_configs": [{"url_file": _secret_path(url), "send_resolved": resolved}]}


def _secret_path(credential: Credential) -> str:
    return f"{SECRETS_DIRECTORY}/{credential.key}"
