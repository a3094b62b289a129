"""What can end a transfer before its file is there."""


class TransferError(Exception):
    """The file cannot be had: the source does not know it, or what it sends is not what was promised."""


class Cancelled(Exception):  # noqa: N818
    """The caller's stop event was set before the file was complete."""
