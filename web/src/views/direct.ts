/** Opens the direct chat with somebody; the same two people always get the same room. */
import type { Client } from "../shell/client";
import { goTo } from "./hooks";

export async function openDirect(client: Client, person: string): Promise<void> {
  const known = [...client.state.rooms.values()].find(({ info }) => info.kind === "direct" && info.joined && info.others[0] === person);
  const room = known?.info ?? (await client.api.createRoom({ kind: "direct", members: [person] }));
  if (known === undefined) client.do({ t: "room", room });
  goTo(room.id);
}
