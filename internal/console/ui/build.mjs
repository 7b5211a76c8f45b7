// Builds ../dist, which the program embeds; with --check, compares what is there
// with what is built now.
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { brotliCompressSync, brotliDecompressSync } from "node:zlib";
import { build } from "vite";

const dist = path.resolve(import.meta.dirname, "../dist");
const check = process.argv.includes("--check");
const to = check ? await mkdtemp(path.join(tmpdir(), "console-")) : dist;

async function names(dir) {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries.filter((e) => e.isFile()).map((e) => path.relative(dir, path.join(e.parentPath, e.name))).sort();
}

try {
  await build({ root: import.meta.dirname, logLevel: "warn", build: { outDir: to, emptyOutDir: true } });
  // The first page has to be small, and brotli takes too long to do it while somebody waits.
  for (const name of await names(to)) {
    const plain = await readFile(path.join(to, name));
    if (/\.(js|css|md)$/.test(name) && plain.length > 1024) await writeFile(path.join(to, `${name}.br`), brotliCompressSync(plain));
  }
  if (check && !(await same())) {
    console.error("internal/console/dist is not what internal/console/ui makes: run make console, and commit both");
    process.exitCode = 1;
  }
} finally {
  if (check) await rm(to, { recursive: true });
}

/** Versions of brotli make different files of the same text, so texts are compared. */
async function same() {
  const want = await names(to);
  if (want.join() !== (await names(dist)).join()) return false;
  const read = async (dir, name) => {
    const b = await readFile(path.join(dir, name));
    return name.endsWith(".br") ? brotliDecompressSync(b) : b;
  };
  for (const name of want) {
    if (!(await read(to, name)).equals(await read(dist, name))) return false;
  }
  return true;
}
