/** Oneself: presence, status, picture, files, colours, and the way out. */
import { Button, Menu, Modal, TextInput, UnstyledButton, useMantineColorScheme } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { lazy, type SyntheticEvent, Suspense, useState } from "react";

import type { Person, WishedState } from "../core/wire";
import { Avatar, PresenceText } from "./Avatar";
import { OPERATOR, useClient, useCore } from "./hooks";
import { useToast } from "./Toast";
import { PRESENCE_WORDS } from "./words";

const Portrait = lazy(() => import("./Portrait"));
const MyFiles = lazy(() => import("./MyFiles"));

const WISHES: WishedState[] = ["online", "away", "busy", "dnd", "invisible"];
const STATUS_CHARS_MAX = 140;

export function MeMenu({ me }: { me: Person }) {
  const client = useClient();
  const { attempt } = useToast();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const presence = useCore((state) => state.presence.get(me.id));
  const [status, setStatus] = useState(false);
  const [dialog, setDialog] = useState<"portrait" | "files" | null>(null);
  const { data } = useQuery({ queryKey: ["me"], queryFn: client.api.me, staleTime: Infinity });

  const wish = (state: WishedState, text: string) => attempt("Your presence was not changed", () => client.api.setPresence(state, text));
  const wished = (): WishedState => WISHES.find((state) => state === presence?.state) ?? "online";

  function submit(event: SyntheticEvent<HTMLFormElement>) {
    event.preventDefault();
    setStatus(false);
    void wish(wished(), (new FormData(event.currentTarget).get("text") as string).trim());
  }

  return (
    <>
      <Menu position="top-start" width={240} shadow="md">
        <Menu.Target>
          <UnstyledButton className="me">
            <Avatar person={me.id} size={32} dot />
            <span className="me-words"><span className="me-name">{me.name}</span><span className="me-state"><PresenceText person={me.id} /></span></span>
          </UnstyledButton>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Label>Presence</Menu.Label>
          {WISHES.map((state) => (
            <Menu.Item key={state} leftSection={<span className="presence presence-inline" data-state={state === "invisible" ? "offline" : state} />} onClick={() => void wish(state, presence?.text ?? "")}>
              {PRESENCE_WORDS[state]}
            </Menu.Item>
          ))}
          <Menu.Item onClick={() => setStatus(true)}>Set a status…</Menu.Item>
          <Menu.Label>Yours</Menu.Label>
          <Menu.Item onClick={() => setDialog("portrait")}>Your picture…</Menu.Item>
          <Menu.Item onClick={() => setDialog("files")}>My files…</Menu.Item>
          <Menu.Label>Colours</Menu.Label>
          {(["auto", "light", "dark"] as const).map((scheme) => (
            <Menu.Item key={scheme} onClick={() => setColorScheme(scheme)} rightSection={colorScheme === scheme ? <span aria-label="chosen">✓</span> : null}>
              {{ auto: "As the device", light: "Light", dark: "Dark" }[scheme]}
            </Menu.Item>
          ))}
          {data?.operator === true && (
            <>
              <Menu.Label>Operators</Menu.Label>
              <Menu.Item component="a" href={OPERATOR}>Where traffic goes</Menu.Item>
            </>
          )}
          <Menu.Divider />
          <Menu.Item onClick={() => void attempt("You are not signed out", () => client.signOut(false))}>Sign out</Menu.Item>
          <Menu.Item onClick={() => void attempt("You are not signed out everywhere", () => client.signOut(true))}>Sign out everywhere</Menu.Item>
        </Menu.Dropdown>
      </Menu>
      <Modal opened={status} onClose={() => setStatus(false)} title="Set a status">
        <form className="form" onSubmit={submit}>
          <TextInput name="text" label="What are you doing?" description="Leave it empty to clear it." defaultValue={presence?.text ?? ""} maxLength={STATUS_CHARS_MAX} data-autofocus />
          <Button type="submit">Set</Button>
        </form>
      </Modal>
      <Suspense>
        {dialog === "portrait" && <Portrait onClose={() => setDialog(null)} />}
        {dialog === "files" && <MyFiles onClose={() => setDialog(null)} />}
      </Suspense>
    </>
  );
}
