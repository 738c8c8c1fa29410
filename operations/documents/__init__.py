"""The generated documents: what they say is read from the code, and a test holds them true."""

from operations.documents.generated import generated, write_documents

__all__ = ["generated", "write_documents"]
