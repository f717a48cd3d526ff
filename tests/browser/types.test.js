/**
 * The client module's types: its files keep to what their comments say, the declarations beside them are of today, and TypeScript takes
 * what is right and refuses what is wrong.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { MODULE, compile, declare, inFolder, namesIn } from "./support/types.js";

const here = (name) => fileURLToPath(new URL(`types/${name}`, import.meta.url));

describe("the types of the client module", () => {
  test("each file keeps to its own, and its declarations are fresh", () => {
    const { complaints, declarations } = declare();
    assert.equal(complaints, "");
    assert.deepEqual(namesIn(MODULE, ".d.ts"), [...declarations.keys()], "run `npm run types`");
    for (const [name, text] of declarations) assert.equal(readFileSync(join(MODULE, name), "utf8"), text, `${name}: run \`npm run types\``);
  });

  for (const name of ["right.ts", "wrong.ts"]) {
    test(`TypeScript: ${name}`, () => {
      assert.equal(inFolder((folder) => compile(folder, [here(name)], { noEmit: true })), "");
    });
  }
});
