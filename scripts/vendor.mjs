/**
 * Writes the bundles that the server embeds into client-demo/vendor, from the packages that are installed in client-demo:
 * `node scripts/vendor.mjs`. With `--check`, compares instead, and fails if a file differs.
 *
 * The result is committed, so that building the server needs no Node. The packages and their versions are those of
 * client-demo/package-lock.json.
 */
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const DEMO = fileURLToPath(new URL("../client-demo/", import.meta.url));
const PACKAGES = join(DEMO, "node_modules");
const VENDOR = join(DEMO, "vendor");
const SOCKET_IO = ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"];
/** Packages that the bundles of socket.io-client contain. */
const IN_SOCKET_IO = [
  "socket.io-client", "socket.io-parser", "engine.io-client", "engine.io-parser", "@socket.io/component-emitter",
];

const { build } = createRequire(join(DEMO, "package.json"))("esbuild");
const files = new Map();

for (const name of SOCKET_IO) files.set(`socket.io/${name}`, readFileSync(join(PACKAGES, "socket.io-client/dist", name)));

const { outputFiles, metafile } = await build({
  entryPoints: ["mediasoup-client"], outfile: "mediasoup-client.js",
  bundle: true, minify: true, write: false, metafile: true,
  format: "esm", target: "es2022", legalComments: "none", logLevel: "warning", absWorkingDir: DEMO,
});
files.set("mediasoup-client.js", Buffer.from(outputFiles[0].contents));

const bundled = Object.keys(metafile.inputs).map((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]).filter(Boolean);
files.set("NOTICES.md", Buffer.from(notices([...new Set([...IN_SOCKET_IO, ...bundled])].sort())));

/** Returns the licences of the packages whose code is in the bundles. @param {string[]} names */
function notices(names) {
  const sections = names.map((name) => {
    const folder = join(PACKAGES, name);
    const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
    const text = file ? readFileSync(join(folder, file), "utf8").trim() : `${license} licence; the package has no text of it.`;
    return `## ${name} ${version} (${license})\n\n${text.replace(/\r\n/g, "\n").replace(/[ \t]+$/gm, "")}\n`;
  });
  return `# Third-party code in these bundles\n\nWritten by \`scripts/vendor.mjs\`.\n\n${sections.join("\n")}`;
}

let differences = 0;
for (const [name, content] of files) {
  const path = join(VENDOR, name);
  if (existsSync(path) && readFileSync(path).equals(content)) continue;
  if (process.argv.includes("--check")) {
    console.error(`client-demo/vendor/${name} differs from the installed packages: run make vendor`);
    differences += 1;
  } else {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    console.log(`client-demo/vendor/${name}`);
  }
}
process.exitCode = differences ? 1 : 0;
