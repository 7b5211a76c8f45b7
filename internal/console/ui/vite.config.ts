import react from "@vitejs/plugin-react";
import { defineConfig, loadEnv, type Plugin } from "vite";

// Cloudscape's style sheet holds its fonts as data: URLs, which the CSP forbids and
// everybody would load; as files, a page loads the ones that it shows. The slanted
// ones are left out, which are placeholders' alone: browsers slant the upright ones.
function fontFiles(): Plugin {
  return {
    name: "font-files",
    enforce: "post",
    generateBundle(_, bundle) {
      for (const sheet of Object.values(bundle)) {
        if (sheet.type !== "asset" || !sheet.fileName.endsWith(".css")) continue;
        const upright = String(sheet.source).replaceAll(/@font-face\{[^}]*font-style:italic[^}]*\}/g, "");
        sheet.source = upright.replaceAll(/url\(data:font\/woff2;base64,([^)]+)\)/g, (_, base64: string) => {
          const source = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
          const file = this.getFileName(this.emitFile({ type: "asset", name: "font.woff2", source }));
          return `url(${file.replace("assets/", "")})`;
        });
      }
    },
  };
}

// The console is served below /console by the Go handler beside this folder, which
// embeds ../dist. CONSOLE_SERVER is the server that `npm run dev` talks to.
export default defineConfig(({ mode }) => ({
  base: "/console/",
  plugins: [react(), fontFiles()],
  // Cloudscape's words come parsed; the parser of message formats stays at home.
  resolve: { alias: [{ find: /^@formatjs\/icu-messageformat-parser$/, replacement: "@formatjs/icu-messageformat-parser/lib/no-parser.js" }] },
  build: {
    outDir: "../dist",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false }, // an inline script, which the CSP forbids
    target: "es2023",
    chunkSizeWarningLimit: 800, // kB, of what everybody sees first
    license: { fileName: "assets/licenses.md" }, // of what the built files contain
  },
  server: {
    host: "127.0.0.1",
    proxy: { "/console/api": loadEnv(mode, ".", "CONSOLE_")["CONSOLE_SERVER"] ?? "http://127.0.0.1:8440" },
  },
}));
