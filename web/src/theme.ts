/** Colours and shapes for Mantine; the page's own are in styles/app.css. */
import { Button, createTheme, Drawer, type MantineColorsTuple, Menu, Modal } from "@mantine/core";

const moon: MantineColorsTuple = [
  "#eef1ff", "#dfe4fd", "#c6cffb", "#aebbf7", "#97a7f2", "#7c8ee6", "#5d70d4", "#4656b8", "#37459b", "#28347c",
];

const OVERLAY = { color: "#0c1128", backgroundOpacity: 0.62 };

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
  components: {
    Button: Button.extend({ defaultProps: { variant: "filled" } }), // said, so that styles/colours.css can tell
    Modal: Modal.extend({ defaultProps: { closeButtonProps: { "aria-label": "Close" }, overlayProps: OVERLAY } }),
    Drawer: Drawer.extend({ defaultProps: { overlayProps: OVERLAY } }),
    Menu: Menu.extend({ defaultProps: { withInitialFocusPlaceholder: false } }), // a menu may hold nothing but its items
  },
});
