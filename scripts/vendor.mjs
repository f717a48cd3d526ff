/**
 * Writes the bundles that the server embeds: `node scripts/vendor.mjs`. With `--check`, compares instead, and fails if a file differs.
 *
 * - client-demo/vendor: code of the packages that are installed in client-demo, in the versions of its package-lock.json
 * - client-demo/bundle: the demo's own modules with those of packages/client, and its styles, in few files that load fast
 *
 * The result is committed, so that building the server needs no Node.
 */
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const DEMO = fileURLToPath(new URL("../client-demo/", import.meta.url));
const PACKAGES = join(DEMO, "node_modules");
const CLIENT = fileURLToPath(new URL("../packages/client/", import.meta.url));
/** Shorter lines, so that a change of one module is a small change of the committed file. */
const MAX_LINE = 120;
const SOCKET_IO = ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"];
/** Packages that the bundles of socket.io-client contain. */
const IN_SOCKET_IO = [
  "socket.io-client", "socket.io-parser", "engine.io-client", "engine.io-parser", "@socket.io/component-emitter",
];

const { build } = createRequire(join(DEMO, "package.json"))("esbuild");
/** Contents by their paths in client-demo. @type {Map<string, Buffer>} */
const files = new Map();

for (const name of SOCKET_IO) files.set(`vendor/socket.io/${name}`, readFileSync(join(PACKAGES, "socket.io-client/dist", name)));

const { outputFiles, metafile } = await build({
  entryPoints: ["mediasoup-client"], outfile: "mediasoup-client.js",
  bundle: true, minify: true, write: false, metafile: true,
  format: "esm", target: "es2022", legalComments: "none", logLevel: "warning", absWorkingDir: DEMO,
});
files.set("vendor/mediasoup-client.js", Buffer.from(outputFiles[0].contents));

const bundled = Object.keys(metafile.inputs).map((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]).filter(Boolean);
files.set("vendor/NOTICES.md", Buffer.from(notices([...new Set([...IN_SOCKET_IO, ...bundled])].sort())));

/** Resolves the paths that the server maps to other folders, as it does. */
const asServed = {
  name: "as served",
  setup({ onResolve }) {
    onResolve({ filter: /^\.\/parlor\// }, ({ path }) => ({ path: join(CLIENT, "src", path.replace("./parlor/", "")) }));
    onResolve({ filter: /^\.\/io\.js$/ }, () => ({ path: join(CLIENT, "served/io.js") }));
    // Bundles of other packages stay files of their own, which are loaded when they are needed.
    onResolve({ filter: /^\/socket\.io\/|^\.\/vendor\// }, ({ path }) => ({ path, external: true }));
  },
};
const page = await build({
  entryPoints: ["app.js", "page.css"], outdir: "bundle", entryNames: "[name]", chunkNames: "[name]", plugins: [asServed],
  bundle: true, splitting: true, minify: true, lineLimit: MAX_LINE, write: false,
  format: "esm", target: "es2022", legalComments: "none", logLevel: "warning", absWorkingDir: DEMO,
});
for (const { path, contents } of page.outputFiles) files.set(`bundle/${basename(path)}`, Buffer.from(contents));

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
function report(name, problem, mend) {
  if (process.argv.includes("--check")) {
    console.error(`client-demo/${name} ${problem}: run make vendor`);
    differences += 1;
  } else {
    mend(join(DEMO, name));
    console.log(`client-demo/${name}`);
  }
}
for (const [name, content] of files) {
  const path = join(DEMO, name);
  if (existsSync(path) && readFileSync(path).equals(content)) continue;
  report(name, "differs from its sources or from the installed packages", () => {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
  });
}
const bundles = existsSync(join(DEMO, "bundle")) ? readdirSync(join(DEMO, "bundle")) : [];
for (const name of bundles.map((each) => `bundle/${each}`)) {
  if (!files.has(name)) report(name, "is no longer part of the page", (path) => rmSync(path));
}
process.exitCode = differences ? 1 : 0;
