/** Starts the client: who is signed in decides between the door and the inside. */
import "./styles/index.css";

import { MantineProvider } from "@mantine/core";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { Auth } from "./shell/auth";
import { chosenScheme } from "./shell/storage";
import { theme } from "./theme";
import { App } from "./views/App";

// Mantine sets the scheme when it has drawn the first page; the first page must not be drawn in the wrong one.
const chosen = chosenScheme();
const dark = chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
document.documentElement.setAttribute("data-mantine-color-scheme", dark ? "dark" : "light");

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
