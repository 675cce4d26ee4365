"""Answer every message that begins with `!echo`, in every room one is in, until interrupted.

    python docs/examples/echo_bot.py

Start it twice, kill doors, sites and buses meanwhile: each question is answered once per bot, in order.
"""

from __future__ import annotations

import asyncio
import uuid

from account import sign_in

from moonbow.sdk import BodyEvent, Client, Connected, Lost, Row

CALL = "!echo "
ANSWERS = uuid.UUID("b2b9e0a4-31b5-4a0c-9b5e-7b1c3a3f9d10")  # any constant of your own


async def answer(me: Client, room: str, entry: str, text: str) -> None:
    """Answer one message.  The `client_id` follows from it, so an answer cannot be given twice."""
    posted = await me.send(room, text, client_id=str(uuid.uuid5(ANSWERS, me.person.id + entry)))
    print(f"answered {entry}: {posted.state}")


async def main() -> None:
    """Listen; a message from another region may come first and its text a moment later."""
    async with await sign_in() as me, asyncio.TaskGroup() as tasks:
        async for event in me.events():
            match event:
                case Connected():
                    print(f"connected to {event.city} through {event.door.city or event.door.url}", flush=True)
                case Lost():
                    print(f"lost {event.site}, trying elsewhere", flush=True)
                case Row(author=author) if author == me.person.id:
                    continue  # one's own
                case Row(kind="entry", stream=room, id=str(entry), body={"text": str(text)}) if text.startswith(CALL):
                    tasks.create_task(answer(me, room, entry, text.removeprefix(CALL)))
                case BodyEvent(stream=room, id=entry, body={"text": str(text)}) if text.startswith(CALL):
                    tasks.create_task(answer(me, room, entry, text.removeprefix(CALL)))
                case _:
                    pass


if __name__ == "__main__":
    asyncio.run(main())
