"""Write every message that one may read to standard output, one JSON object a line, oldest first.

python docs/examples/export.py > mine.jsonl
"""

from __future__ import annotations

import asyncio
import json

from account import sign_in


async def main() -> None:
    """Room by room, page by page; nothing is held but one room's rows."""
    async with await sign_in() as me:
        for room in await me.rooms():
            pages = [page.rows async for page in me.history(room.id)]
            for row in (row for rows in reversed(pages) for row in rows if row.kind == "entry"):
                line = {"room": room.id, "seq": row.seq, "at": row.at, "author": row.author, "state": row.state}
                print(json.dumps({**line, "body": row.body}, ensure_ascii=False))


if __name__ == "__main__":
    asyncio.run(main())
