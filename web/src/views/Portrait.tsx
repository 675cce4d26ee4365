/** One's own picture: choose one, cut a square out of it, or do without. */
import { Button, Modal } from "@mantine/core";
import { type ChangeEvent, type KeyboardEvent, type PointerEvent, useEffect, useRef, useState } from "react";

import { saveFile } from "../shell/saveFile";
import { Avatar } from "./Avatar";
import { type Crop, CROP_ZOOM_MAX, move, square, WHOLE } from "./crop";
import { useClient, useCore, useFocusBack } from "./hooks";
import { useToast } from "./Toast";

const SIDE_PX = 512;
const SHOWN_PX = 220;
const STEP = 0.08; // of the square, by one stroke of an arrow key

function draw(canvas: HTMLCanvasElement, picture: ImageBitmap, crop: Crop): void {
  const { x, y, side } = square(picture, crop);
  const context = canvas.getContext("2d");
  if (context === null) return;
  context.fillStyle = "#fff"; // under what is transparent
  context.fillRect(0, 0, SIDE_PX, SIDE_PX);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, x, y, side, side, 0, 0, SIDE_PX, SIDE_PX);
}

export default function Portrait({ onClose }: { onClose: () => void }) {
  const client = useClient();
  useFocusBack();
  const { attempt, say } = useToast();
  const me = useCore((state) => state.people.get(client.me));
  const [picture, setPicture] = useState<ImageBitmap | null>(null);
  const [crop, setCrop] = useState(WHOLE);
  const [busy, setBusy] = useState(false);
  const canvas = useRef<HTMLCanvasElement>(null);
  const chooser = useRef<HTMLInputElement>(null);

  useEffect(() => {
    if (canvas.current !== null && picture !== null) draw(canvas.current, picture, crop);
  }, [picture, crop]);

  async function choose(event: ChangeEvent<HTMLInputElement>) {
    const [file] = event.target.files ?? [];
    event.target.value = "";
    if (file === undefined) return;
    try {
      setPicture(await createImageBitmap(file));
      setCrop(WHOLE);
    } catch {
      say(`${file.name} is not a picture that can be read here.`);
    }
  }

  async function set(what: string, work: () => Promise<{ avatar: string | null }>) {
    setBusy(true);
    const done = await attempt(what, async () => {
      const { avatar } = await work();
      if (me !== undefined) client.do({ t: "people", people: [{ id: client.me, name: me.name, region: me.region, avatar }] });
    });
    setBusy(false);
    if (done) onClose();
  }

  async function save() {
    const blob = await new Promise<Blob | null>((resolve) => canvas.current?.toBlob(resolve, "image/jpeg", 0.9));
    if (blob === null) throw new Error("the picture could not be drawn");
    const { id } = await saveFile(client.api, blob, "portrait.jpg");
    const set = await client.api.setAvatar(id);
    await client.api.deleteFile(id).catch(() => undefined); // the picture was made from it; it only takes space now
    return set;
  }

  function onKey(event: KeyboardEvent) {
    const by = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
    if (by === undefined || picture === null) return;
    event.preventDefault();
    setCrop(move(picture, crop, by[0] ?? 0, by[1] ?? 0));
  }

  function onDrag(event: PointerEvent) {
    if (event.buttons !== 1 || picture === null) return;
    setCrop(move(picture, crop, -event.movementX / SHOWN_PX, -event.movementY / SHOWN_PX));
  }

  return (
    <Modal opened onClose={onClose} title="Your picture">
      <div className="portrait">
        {picture === null ? (
          <Avatar person={client.me} size={SHOWN_PX / 2} />
        ) : (
          <>
            {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex, jsx-a11y/no-noninteractive-element-interactions -- the arrow keys move the picture */}
            <div className="portrait-frame" tabIndex={0} role="group" aria-label="Cut-out: the arrow keys move the picture" onKeyDown={onKey} onPointerMove={onDrag}>
              <canvas ref={canvas} width={SIDE_PX} height={SIDE_PX} style={{ width: SHOWN_PX, height: SHOWN_PX }} role="img" aria-label="How your picture will look" />
            </div>
            <label className="portrait-zoom">
              <span>Nearer</span>
              <input type="range" min={1} max={CROP_ZOOM_MAX} step={0.05} value={crop.zoom} onChange={(event) => setCrop({ ...crop, zoom: Number(event.target.value) })} />
            </label>
          </>
        )}
        <p className="note">Your picture rests in your region, as everything of yours. Whoever may see your name may see it.</p>
        <input ref={chooser} type="file" accept="image/*" hidden tabIndex={-1} aria-hidden="true" onChange={(event) => void choose(event)} />
        <div className="portrait-ways">
          {picture !== null && <Button loading={busy} onClick={() => void set("Your picture was not set", save)}>Use it</Button>}
          <Button variant="default" disabled={busy} data-autofocus onClick={() => chooser.current?.click()}>Choose a picture…</Button>
          {me != null && me.avatar !== null && picture === null && <Button variant="subtle" color="red" loading={busy} onClick={() => void set("Your picture was not removed", () => client.api.setAvatar(null))}>Remove</Button>}
        </div>
      </div>
    </Modal>
  );
}
