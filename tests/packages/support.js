/**
 * Empty projects in temporary folders, and commands in them.
 */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** The version of the server, which all packages have. */
export const VERSION = /^version = "(.*)"/m.exec(readFileSync(join(ROOT, "Cargo.toml"), "utf8"))[1];

const LIMIT_MS = 240_000;

/**
 * Runs a command, and fails with all that it printed.
 * @param {string} folder
 * @param {string} command
 * @param {string[]} given
 * @returns {Promise<string>} its output
 */
export async function run(folder, command, ...given) {
  try {
    const { stdout } = await promisify(execFile)(command, given, { cwd: folder, timeout: LIMIT_MS, maxBuffer: 1 << 26 });
    return stdout;
  } catch (error) {
    throw new Error(`${command} ${given.join(" ")}: ${error.message}\n${error.stdout}\n${error.stderr}`, { cause: error });
  }
}

/** A folder with a space in its path, which the test removes. @param {import("node:test").TestContext} t */
export function emptyFolder(t) {
  const folder = mkdtempSync(join(tmpdir(), "parlor packages "));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
