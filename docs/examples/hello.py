"""Make a room, say something in it, and read it back.

python docs/examples/hello.py [TEXT]
"""

from __future__ import annotations

import asyncio
import sys

from account import sign_in


async def main(text: str) -> None:
    """Say `text` in a room of its own."""
    async with await sign_in() as me:
        print(f"{me.person.name}: everything I write rests in {me.person.region}")
        room = await me.create_room("Hello from the SDK")
        posted = await me.send(room.id, text)
        print(f"{posted.state} as number {posted.seq} of {room.id}")
        async for page in me.history(room.id):
            for row in page.rows:
                print(f"{row.seq:4} {row.kind:10} {row.body or ''}")


if __name__ == "__main__":
    asyncio.run(main(" ".join(sys.argv[1:]) or "Hello, night sky."))
