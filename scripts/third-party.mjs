/**
 * Lists the code of others in the program: `node scripts/third-party.mjs notices` prints their licences as Markdown, `sbom` a CycloneDX 1.5
 * document.
 *
 * Included are the crates that are compiled into the program (not those of build scripts and tests), and the npm packages of the bundles that
 * it embeds.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const TARGET = "x86_64-unknown-linux-gnu";
const cargo = (...given) => execFileSync("cargo", given, { cwd: ROOT, encoding: "utf8", maxBuffer: 1 << 28 });

const { packages, workspace_members } = JSON.parse(cargo("metadata", "--locked", "--format-version", "1", "--filter-platform", TARGET));
const tree = cargo("tree", "--locked", "--package", "parlor", "--edges", "normal,no-proc-macro", "--target", TARGET, "--prefix", "none", "--format", "{p}");
const compiled = new Set(tree.split("\n").map((line) => /^(\S+) v(\S+)/.exec(line)?.slice(1, 3).join("@")).filter(Boolean));
const crates = packages
  .filter(({ id, name, version }) => compiled.has(`${name}@${version}`) && !workspace_members.includes(id))
  .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.version < b.version ? -1 : 1));

/** Sections of client-demo/vendor/NOTICES.md: name, version and licence of each npm package, and the text. */
const bundled = readFileSync(join(ROOT, "client-demo/vendor/NOTICES.md"), "utf8").split(/^## /m).slice(1).map((section) => {
  const [, name, version, license] = /^(\S+) (\S+) \((.*)\)/.exec(section);
  return { name, version, license, text: section.slice(section.indexOf("\n")).trim() };
});

function licenceTexts({ manifest_path, license }) {
  const folder = dirname(manifest_path);
  const files = readdirSync(folder).filter((name) => /^(licen[cs]e|copying|notice|copyright)/i.test(name)).sort();
  const texts = [];
  for (const name of files) {
    try {
      texts.push(readFileSync(join(folder, name), "utf8").replace(/\r\n/g, "\n").trim());
    } catch {
      // A folder of licence texts.
      for (const inner of readdirSync(join(folder, name)).sort()) texts.push(readFileSync(join(folder, name, inner), "utf8").trim());
    }
  }
  return texts.length ? texts : [`${license} licence; the package has no text of it.`];
}

function notices() {
  // Many crates have the same text: it is printed once, for all of them.
  const byText = new Map();
  const add = (label, text) => byText.set(text, [...(byText.get(text) ?? []), label]);
  for (const crate of crates) for (const text of licenceTexts(crate)) add(`${crate.name} ${crate.version} (${crate.license})`, text);
  for (const { name, version, license, text } of bundled) add(`${name} ${version} (${license}), npm`, text);
  const sections = [...byText].map(([text, labels]) => `## ${labels.join(", ")}\n\n\`\`\`text\n${text}\n\`\`\`\n`);
  return `# Third-party notices\n\nParlor contains the code of ${crates.length} crates and ${bundled.length} npm packages.\n\n${sections.join("\n")}`;
}

function sbom() {
  const parlor = packages.find(({ name, id }) => name === "parlor" && workspace_members.includes(id));
  const checksums = new Map(
    readFileSync(join(ROOT, "Cargo.lock"), "utf8").split("[[package]]").map((block) => {
      const of = (key) => new RegExp(`^${key} = "(.*)"`, "m").exec(block)?.[1];
      return [`${of("name")}@${of("version")}`, of("checksum")];
    }),
  );
  const component = (type, { name, version, license }, purl, hash) => ({
    type, name, version, purl, "bom-ref": purl,
    ...(license ? { licenses: [{ expression: license.replaceAll("/", " OR ") }] } : {}),
    ...(hash ? { hashes: [{ alg: "SHA-256", content: hash }] } : {}),
  });
  const components = [
    ...crates.map((crate) => component("library", crate, `pkg:cargo/${crate.name}@${crate.version}`, checksums.get(`${crate.name}@${crate.version}`))),
    ...bundled.map((one) => component("library", one, `pkg:npm/${one.name.replace("@", "%40")}@${one.version}`)),
  ];
  const digest = createHash("sha256").update(JSON.stringify(components)).digest("hex");
  // The same contents have the same serial number.
  const serial = digest.replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*$/, "$1-$2-4$3-8$4-$5");
  return {
    bomFormat: "CycloneDX", specVersion: "1.5", serialNumber: `urn:uuid:${serial}`, version: 1,
    metadata: { component: component("application", parlor, `pkg:cargo/parlor@${parlor.version}`) },
    components,
  };
}

const what = process.argv[2];
if (what === "notices") console.log(notices());
else if (what === "sbom") console.log(JSON.stringify(sbom(), null, 2));
else {
  console.error("notices or sbom");
  process.exitCode = 2;
}
