/** The door: sign in, and say why one is outside again. */
import { Alert, Button, PasswordInput, TextInput } from "@mantine/core";
import { type SyntheticEvent, useRef, useState } from "react";

import { ApiError } from "../shell/fault";
import type { Auth, Ending } from "../shell/auth";
import { Logo, Sky } from "./Logo";

const ENDINGS: Record<Ending, string> = {
  signed_out: "You are signed out.",
  expired: "Your session has ended. Please sign in again.",
  revoked: "This session was ended, perhaps from another device. Please sign in again.",
};

function words(error: unknown): string {
  if (!(error instanceof ApiError)) return "Something went wrong here. Please reload the page.";
  switch (error.code) {
    case "sign_in_refused":
      return "This login and password do not belong together.";
    case "throttled":
      return `Too many attempts. Please wait ${Math.ceil(error.problem.retry_after_s ?? 30)} seconds.`;
    case "directory_incomplete":
      return "Part of the world does not answer just now, so your name could not be looked up. Please try again.";
    case "home_unreachable":
      return `Your home region ${(error.problem.region ?? "").toUpperCase()} cannot be reached just now. Please try again in a moment.`;
    case "unreachable":
      return "The server cannot be reached. Are you online?";
    default:
      return error.message;
  }
}

export function SignIn({ auth, ending }: { auth: Auth; ending: Ending | null }) {
  const [busy, setBusy] = useState(false);
  const [fault, setFault] = useState<string | null>(null);
  const login = useRef<HTMLInputElement>(null);

  async function submit(event: SyntheticEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    setBusy(true);
    setFault(null);
    try {
      await auth.signIn(form.get("login") as string, form.get("password") as string);
    } catch (error) {
      setFault(words(error));
      setBusy(false);
      login.current?.focus();
    }
  }

  return (
    <div className="door">
      <Sky />
      <main className="door-card">
        <div className="door-brand">
          <Logo size={44} />
          <h1>Moonbow</h1>
        </div>
        <p className="door-words">Talk with everyone. What you write rests in your own region.</p>
        {ending !== null && fault === null && <Alert variant="light" role="status">{ENDINGS[ending]}</Alert>}
        {fault !== null && <Alert color="red" variant="light" role="alert">{fault}</Alert>}
        <form onSubmit={(event) => void submit(event)}>
          <TextInput ref={login} name="login" label="Login" type="text" inputMode="email" autoComplete="username" autoCapitalize="none" spellCheck={false} required minLength={3} size="md" withAsterisk={false} data-autofocus />
          <PasswordInput name="password" label="Password" autoComplete="current-password" required size="md" withAsterisk={false} visibilityToggleButtonProps={{ "aria-label": "Show or hide the password" }} />
          <Button type="submit" size="md" fullWidth loading={busy}>Sign in</Button>
        </form>
      </main>
    </div>
  );
}
