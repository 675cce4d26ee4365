/** How the client is built (`web/dist`), served while developing, and tested. */
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// `MOONBOW_ORIGIN=https://moonbow.localhost:8443 npm run dev` sends the API to a running world.
const origin = process.env["MOONBOW_ORIGIN"] ?? "https://moonbow.localhost:8443";

export default defineConfig({
  plugins: [react()],
  build: {
    target: "es2022",
    assetsInlineLimit: 0, // the page's policy allows nothing inline but styles
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 600,
  },
  server: { proxy: { "/v1": { target: origin, changeOrigin: true, secure: false, ws: true } } },
  test: { environment: "node", include: ["test/**/*.test.{ts,tsx}"] },
});
