/**
 * The types of the client module: its files match their JSDoc types, the declarations are up to date, and TypeScript accepts correct uses
 * and rejects wrong ones.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { MODULE, compile, declare, inFolder, namesIn } from "./support/types.js";

const here = (name) => fileURLToPath(new URL(`types/${name}`, import.meta.url));

describe("the types of the client module", () => {
  test("each file type-checks, and its declarations are up to date", () => {
    const { errors, declarations } = declare();
    assert.equal(errors, "");
    assert.deepEqual(namesIn(MODULE, ".d.ts"), [...declarations.keys()], "run `npm run types`");
    for (const [name, text] of declarations) assert.equal(readFileSync(join(MODULE, name), "utf8"), text, `${name}: run \`npm run types\``);
  });

  for (const name of ["valid.ts", "invalid.ts"]) {
    test(`TypeScript: ${name}`, () => {
      assert.equal(inFolder((folder) => compile(folder, [here(name)], { noEmit: true })), "");
    });
  }
});
