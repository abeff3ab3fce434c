"""The client of a cluster: the given one, or the active one."""

import distributed


def find_client(client):
    """Return the given client, or the active one of this process or task.

    Parameters
    ----------
    client : distributed.Client or None

    Raises
    ------
    TypeError, ValueError
        If `client` is something else or asynchronous, or there is none.
    """
    if client is None:
        try:
            client = distributed.get_client()
        except ValueError:
            raise ValueError(
                "client must be a distributed.Client, unless one is active; got None; "
                "distributed.Client() starts a cluster on this machine"
            ) from None
    if not isinstance(client, distributed.Client):
        raise TypeError(f"client must be a distributed.Client; got {type(client).__name__}")
    if client.asynchronous:
        raise ValueError("client must not be asynchronous; got Client(asynchronous=True)")
    return client
