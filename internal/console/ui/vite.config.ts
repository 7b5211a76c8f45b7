import react from "@vitejs/plugin-react";
import { defineConfig, loadEnv } from "vite";

// The console is served below /console by the Go handler beside this folder, which
// embeds ../dist. CONSOLE_SERVER is the server that `npm run dev` talks to.
export default defineConfig(({ mode }) => ({
  base: "/console/",
  plugins: [react()],
  build: {
    outDir: "../dist",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false }, // an inline script, which the CSP forbids
    target: "es2023",
  },
  server: {
    host: "127.0.0.1",
    proxy: { "/console/api": loadEnv(mode, ".", "CONSOLE_")["CONSOLE_SERVER"] ?? "http://127.0.0.1:8440" },
  },
}));
