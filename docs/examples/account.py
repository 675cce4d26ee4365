"""Who the examples sign in as: from the environment, so that no password stands in a file.

export MOONBOW_URL=https://moonbow.localhost:8443  MOONBOW_CA=.state/pki/ca.crt
export MOONBOW_LOGIN=ada@lunar.example  MOONBOW_PASSWORD='the words that `moonbow up` printed'
"""

from __future__ import annotations

import os

from moonbow.sdk import Client


async def sign_in() -> Client:
    """A client of the account in the environment."""
    return await Client.sign_in(
        os.environ["MOONBOW_URL"],
        os.environ["MOONBOW_LOGIN"],
        os.environ["MOONBOW_PASSWORD"],
        ca=os.environ.get("MOONBOW_CA"),
    )
