/**
 * Checks the types of the client module and generates its declarations, with the TypeScript compiler.
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
 * @param {object} [options] in addition to the strictest
 * @returns {string} its errors; empty if there are none
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

/** Creates a temporary folder, and removes it after use. @template T @param {(folder: string) => T} use @returns {T} */
export function inFolder(use) {
  const folder = mkdtempSync(join(tmpdir(), "parlor-types-"));
  try {
    return use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * Checks the module's files, and generates their declarations.
 * @returns {{ errors: string, declarations: Map<string, string> }} the declarations by file name
 */
export function declare() {
  return inFolder((folder) => {
    // In another folder than the existing declarations, which the compiler would prefer to the files.
    const files = namesIn(MODULE, ".js");
    for (const name of files) copyFileSync(join(MODULE, name), join(folder, name));
    const errors = compile(folder, files, {
      allowJs: true,
      checkJs: true,
      declaration: true,
      emitDeclarationOnly: true,
      paths: { ...STRICT.paths, "socket.io-client": [SOCKET_IO] },
    });
    const declarations = namesIn(folder, ".d.ts").map((name) => [name, readFileSync(join(folder, name), "utf8")]);
    return { errors, declarations: new Map(declarations) };
  });
}
