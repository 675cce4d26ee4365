/** Starts the client: who is signed in decides between the door and the inside. */
import "./styles/index.css";

import { MantineProvider } from "@mantine/core";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { Auth } from "./shell/auth";
import { theme } from "./theme";
import { App } from "./views/App";

const root = document.getElementById("root");
if (root !== null) {
  createRoot(root).render(
    <StrictMode>
      <MantineProvider theme={theme} defaultColorScheme="auto">
        <App auth={new Auth()} />
      </MantineProvider>
    </StrictMode>,
  );
}
