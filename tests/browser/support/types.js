/**
 * The types of the client module: checked, and made into declarations, by the TypeScript compiler.
 */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const COMPILER = at("../node_modules/typescript/bin/tsc");
const SOCKET_IO = at("../../../client-demo/node_modules/socket.io-client/build/esm/index.d.ts");
const MEDIASOUP = at("../node_modules/mediasoup-client/lib/");
const STRICT = {
  strict: true,
  noImplicitOverride: true,
  noUnusedLocals: true,
  target: "es2022",
  module: "esnext",
  moduleResolution: "bundler",
  lib: ["es2023", "dom", "dom.iterable"],
  types: [],
  paths: { "mediasoup-client": [`${MEDIASOUP}index.d.ts`], "mediasoup-client/types": [`${MEDIASOUP}types.d.ts`] },
  skipDefaultLibCheck: true,
};

/** The module, with its declarations beside it. */
export const MODULE = at("../../../packages/client/src/");

export const namesIn = (folder, end) => readdirSync(folder).filter((name) => name.endsWith(end)).sort();

/**
 * Runs the compiler.
 * @param {string} folder
 * @param {string[]} files
 * @param {object} [options] beside the strictest there are
 * @returns {string} its complaints; empty if there are none
 */
export function compile(folder, files, options = {}) {
  const project = join(folder, "tsconfig.json");
  writeFileSync(project, JSON.stringify({ compilerOptions: { ...STRICT, ...options }, files }));
  try {
    execFileSync(process.execPath, [COMPILER, "--project", project, "--pretty", "false"], { encoding: "utf8", stdio: "pipe" });
    return "";
  } catch (error) {
    return error.stdout || String(error);
  }
}

/** A folder that is gone when all is done with it. @template T @param {(folder: string) => T} use @returns {T} */
export function inFolder(use) {
  const folder = mkdtempSync(join(tmpdir(), "parlor-types-"));
  try {
    return use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * Checks the module's files, and declares what is in them.
 * @returns {{ complaints: string, declarations: Map<string, string> }} the latter by the name of their file
 */
export function declare() {
  return inFolder((folder) => {
    // Away from the declarations that there are: the compiler would believe those rather than the files.
    const files = namesIn(MODULE, ".js");
    for (const name of files) copyFileSync(join(MODULE, name), join(folder, name));
    const complaints = compile(folder, files, {
      allowJs: true,
      checkJs: true,
      declaration: true,
      emitDeclarationOnly: true,
      paths: { ...STRICT.paths, "socket.io-client": [SOCKET_IO] },
    });
    const declarations = namesIn(folder, ".d.ts").map((name) => [name, readFileSync(join(folder, name), "utf8")]);
    return { complaints, declarations: new Map(declarations) };
  });
}
