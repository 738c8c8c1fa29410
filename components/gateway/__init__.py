"""Gateway: Kong behind the platform's edge."""

from components.gateway.gateway import Gateway, GatewayArgs

__all__ = ["Gateway", "GatewayArgs"]
