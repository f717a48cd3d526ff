/** `npm run types`: regenerates the declarations of the client module. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { MODULE, declare, namesIn } from "../support/types.js";

const { errors, declarations } = declare();
if (errors) {
  console.error(errors);
  process.exit(1);
}
for (const name of namesIn(MODULE, ".d.ts")) rmSync(join(MODULE, name));
for (const [name, text] of declarations) writeFileSync(join(MODULE, name), text);
