"""The stores: one module each, behind the protocol in `store.py`."""

from components.stores.data_layer import DataLayer
from components.stores.store import Store, StoreArgs

__all__ = ["DataLayer", "Store", "StoreArgs"]
