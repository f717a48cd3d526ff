/** `npm run types`: writes the declarations of the client module anew. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { MODULE, declare, namesIn } from "../support/types.js";

const { complaints, declarations } = declare();
if (complaints) {
  console.error(complaints);
  process.exit(1);
}
for (const name of namesIn(MODULE, ".d.ts")) rmSync(join(MODULE, name));
for (const [name, text] of declarations) writeFileSync(join(MODULE, name), text);
