/** What stands in the middle when no room is open. */
import { Button } from "@mantine/core";

import type { Person } from "../core/wire";
import type { Dialog } from "./Frame";
import { Logo } from "./Logo";
import { RegionTag } from "./RegionTag";

export function Welcome({ me, onDialog }: { me: Person; onDialog: (dialog: Dialog) => void }) {
  return (
    <main className="welcome">
      <Logo size={72} />
      <h1>Good to see you, {me.name.split(" ")[0]}</h1>
      <p>
        What you write rests in <RegionTag region={me.region} long />, whoever you write to.
      </p>
      <div className="welcome-ways">
        <Button onClick={() => onDialog("switcher")} variant="filled">Find a room or a person <kbd>Ctrl K</kbd></Button>
        <Button onClick={() => onDialog("room")} variant="default">Create a room</Button>
      </div>
    </main>
  );
}
