"""Files through Redis in bounded chunks, pulled by the receiver; the same code in both directions."""

from espo_transfer.connection import connect
from espo_transfer.digest import entry_of, holds
from espo_transfer.errors import Cancelled, TransferError
from espo_transfer.fetch import fetch
from espo_transfer.serve import FolderSource, Source, serve

__all__ = [
    "Cancelled",
    "FolderSource",
    "Source",
    "TransferError",
    "connect",
    "entry_of",
    "fetch",
    "holds",
    "serve",
]
