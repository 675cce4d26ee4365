"""Send a file into a room of its own, then fetch it back.

python docs/examples/send_file.py FILE
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from account import sign_in


async def main(path: Path) -> None:
    """Upload, share, download, compare."""
    async with await sign_in() as me:
        file = await me.upload(path, on_progress=lambda done, total: print(f"{100 * done // total} %"))
        print(f"{file.name} is {file.type}, {file.size} bytes; it rests in {file.region}")
        room = await me.create_room(f"About {file.name}"[:120])
        await me.send(room.id, "Have a look", files=[file])
        back = await me.download(file.id)
        print("came back as it was" if back == await asyncio.to_thread(path.read_bytes) else "came back changed")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1] if len(sys.argv) > 1 else __file__)))
