/**
 * The files of `make dist`: the archive, unpacked on a path with spaces and in an empty root folder, and the Debian package, installed, started
 * by the command line of its unit, and removed. Needs root.
 */
import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

const DIST = fileURLToPath(new URL("../../target/dist/", import.meta.url));
const LIMIT_MS = 20_000;
/** By its absolute path, since it gets no environment. */
const CHROOT = "/usr/sbin/chroot";
const run = (command, ...given) => execFileSync(command, given, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
const only = (end) => {
  const found = readdirSync(DIST).filter((name) => name.endsWith(end));
  assert.equal(found.length, 1, `one file ${end} in target/dist: run make dist`);
  return join(DIST, found[0]);
};

let folder;
let unpacked;

before(() => {
  folder = mkdtempSync(join(tmpdir(), "parlor dist "));
  run("tar", "-xzf", only(".tar.gz"), "-C", folder);
  unpacked = join(folder, readdirSync(folder)[0]);
});
after(() => rmSync(folder, { recursive: true, force: true }));

/**
 * Starts a program and waits until it listens; runs `use` with its URL; stops it.
 * @param {string} command
 * @param {string[]} given
 * @param {import("node:child_process").SpawnOptions} options
 * @param {(url: string) => Promise<void>} use
 */
async function whileServing(command, given, options, use) {
  const child = spawn(command, given, { stdio: ["ignore", "pipe", "pipe"], ...options });
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  try {
    let output = "";
    const url = await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`does not listen: ${output}`)), LIMIT_MS);
      const read = (chunk) => {
        output += chunk;
        const found = /listening on http:\/\/[\d.]+:(\d+)/.exec(output);
        if (!found) return;
        clearTimeout(timer);
        resolve(`http://127.0.0.1:${found[1]}`);
      };
      child.stdout.on("data", read);
      child.stderr.on("data", read);
      child.once("exit", (code) => reject(new Error(`ended with ${code}: ${output}`)));
    });
    await use(url);
    child.kill("SIGTERM");
    assert.deepEqual(await once(child, "exit"), [0, null], output);
  } finally {
    process.off("exit", kill);
    kill();
  }
}

async function servesEverything(url) {
  for (const [path, part] of [["/healthz", "ok"], ["/socket.io/socket.io.js", "Socket.IO v4"], ["/docs/", "Which protocol?"], ["/client/parlor.js", "Mesh"]]) {
    const response = await fetch(url + path);
    assert.equal(response.status, 200, path);
    assert.ok((await response.text()).includes(part), path);
  }
}

test("the archive serves the demo from a path with spaces, within a minute of unpacking", async () => {
  const started = Date.now();
  const env = { PATH: process.env.PATH, HOST: "127.0.0.1", PORT: "0" };
  await whileServing(join(unpacked, "parlor"), [], { cwd: unpacked, env }, async (url) => {
    assert.match(await (await fetch(url)).text(), /<title>Parlor/);
    await servesEverything(url);
  });
  assert.ok(Date.now() - started < 60_000);
  for (const name of ["README.md", "LICENSE", "THIRD-PARTY-NOTICES.md", "parlor.1", "parlor.service", "completions/parlor.bash"]) {
    assert.ok(existsSync(join(unpacked, name)), name);
  }
});

test("the program needs no shared library, and starts in an empty root folder", async () => {
  const ldd = spawnSync("ldd", [join(unpacked, "parlor")], { encoding: "utf8" });
  assert.match(ldd.stdout + ldd.stderr, /not a dynamic executable|statically linked/);
  const root = join(folder, "root");
  mkdirSync(join(root, "etc"), { recursive: true });
  cpSync(join(unpacked, "parlor"), join(root, "parlor"));
  const given = [root, "/parlor", "--host", "127.0.0.1", "--port", "0"];
  await whileServing(CHROOT, given, { env: {} }, servesEverything);
  // Host names must be resolved as well.
  writeFileSync(join(root, "etc/hosts"), "127.0.0.1 media.internal\n");
  await whileServing(CHROOT, [root, "/parlor", "--host", "media.internal", "--port", "0"], { env: {} }, async (url) => {
    const health = spawnSync(CHROOT, [root, "/parlor", "health", "--host", "media.internal", "--port", new URL(url).port], { encoding: "utf8", env: {} });
    assert.equal(health.status, 0, health.stderr);
  });
});

test("the Debian package is installed, started by its unit's command line, and removed without leftovers", async () => {
  assert.equal(process.getuid(), 0, "installing a package needs root");
  const unit = "/usr/lib/systemd/system/parlor.service";
  run("dpkg", "--install", only(".deb"));
  try {
    assert.equal(run("stat", "--format", "%a", "/etc/parlor/parlor.env").trim(), "600");
    if (existsSync("/usr/bin/systemd-analyze")) {
      const verified = spawnSync("systemd-analyze", ["verify", unit], { encoding: "utf8" });
      assert.doesNotMatch(verified.stderr, /parlor\.(service|socket):/, verified.stderr);
    }
    const text = readFileSync(unit, "utf8");
    const [program, ...given] = /^ExecStart=(.*)$/m.exec(text)[1].split(" ");
    const [name, value] = /^Environment=(.*)=(.*)$/m.exec(text).slice(1);
    const env = { PATH: "/usr/local/bin:/usr/bin", [name]: value, HOST: "127.0.0.1", PORT: "0", SFU: "off" };
    await whileServing(program, given, { cwd: "/etc/parlor", env }, async (url) => {
      await servesEverything(url);
      assert.match(await (await fetch(url)).text(), /href="\/docs\/"/);
    });
    const installed = run("dpkg", "--listfiles", "parlor").trim().split("\n").filter((path) => !/^\/(\.|etc|usr(\/(bin|lib|share)(\/(man|doc|systemd|bash-completion|fish|zsh))?)?)?$/.test(path));
    run("dpkg", "--purge", "parlor");
    const own = installed.filter((path) => path.includes("parlor"));
    assert.ok(own.length > 8, own.join(" "));
    assert.deepEqual(own.filter((path) => existsSync(path)), []);
  } finally {
    spawnSync("dpkg", ["--purge", "parlor"]);
  }
});

test("checksums are right, and the SBOM lists what is compiled in", () => {
  for (const line of readFileSync(join(DIST, "SHA256SUMS"), "utf8").trim().split("\n")) {
    const [sum, name] = line.split(/\s+/);
    assert.equal(createHash("sha256").update(readFileSync(join(DIST, name))).digest("hex"), sum, name);
  }
  const { bomFormat, components } = JSON.parse(readFileSync(only(".cdx.json"), "utf8"));
  assert.equal(bomFormat, "CycloneDX");
  const names = new Set(components.map(({ name }) => name));
  for (const name of ["tokio", "str0m", "rustls", "socket.io-client", "mediasoup-client"]) assert.ok(names.has(name), name);
  for (const name of ["reqwest", "proptest"]) assert.ok(!names.has(name), name);
  assert.ok(components.every(({ licenses }) => licenses), "every component has a licence");
  const notices = readFileSync(join(unpacked, "THIRD-PARTY-NOTICES.md"), "utf8");
  for (const name of ["tokio ", "socket.io-client "]) assert.ok(notices.includes(name), name);
});
