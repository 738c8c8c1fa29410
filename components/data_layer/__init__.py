"""DataLayer: PostgreSQL, Redis and Kafka."""

from components.data_layer.data_layer import DataLayer, DataLayerArgs

__all__ = ["DataLayer", "DataLayerArgs"]
