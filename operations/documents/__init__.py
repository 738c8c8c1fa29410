"""The generated documents. A test checks that they match the code."""

from operations.documents.generated import generated, write_documents

__all__ = ["generated", "write_documents"]
