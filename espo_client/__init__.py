"""The client: a typed SDK over the REST API, and the `espo` command."""

from espo_client.client import EspoClient
from espo_client.errors import DownloadError, EspoApiError, EspoClientError, EspoConnectionError

__all__ = ["DownloadError", "EspoApiError", "EspoClient", "EspoClientError", "EspoConnectionError"]
