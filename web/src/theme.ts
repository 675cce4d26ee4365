/** Colours and shapes for Mantine; the page's own are in styles/app.css. */
import { createTheme, type MantineColorsTuple } from "@mantine/core";

const moon: MantineColorsTuple = [
  "#eef1ff", "#dfe4fd", "#c6cffb", "#aebbf7", "#97a7f2", "#7c8ee6", "#5d70d4", "#4656b8", "#37459b", "#28347c",
];

export const theme = createTheme({
  primaryColor: "moon",
  primaryShade: { light: 7, dark: 3 },
  autoContrast: true,
  colors: { moon },
  fontFamily: '"Figtree Variable", system-ui, -apple-system, "Segoe UI", sans-serif',
  fontFamilyMonospace: 'ui-monospace, "SF Mono", "Cascadia Mono", "Roboto Mono", monospace',
  defaultRadius: "md",
  cursorType: "pointer",
  focusRing: "auto",
  respectReducedMotion: true,
});
