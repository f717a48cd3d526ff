/**
 * The wheel of the Python client, installed from its file into an empty environment: all four protocols, resumption after a connection
 * reset, and its example with aiortc in a call with Chromium.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { createServer } from "node:http";
import { connect, createServer as createTcpServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { launch, Person } from "../browser/support/people.js";
import { startServer } from "../browser/support/server.js";
import { ROOT, VERSION, emptyFolder, run } from "./support.js";

const PACKAGE = join(ROOT, "clients/python");

/** Starts a TCP proxy in front of the server. Returns its URL, and a URL that resets all of its connections. */
async function openProxy(t, port) {
  const sockets = new Set();
  const proxy = createTcpServer((near) => {
    const far = connect(port, "127.0.0.1");
    for (const [one, other] of [[near, far], [far, near]]) {
      sockets.add(one);
      one.on("error", () => {}).on("close", () => {
        sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  }).listen(0, "127.0.0.1");
  const control = createServer((_, response) => {
    for (const socket of sockets) socket.resetAndDestroy();
    response.end();
  }).listen(0, "127.0.0.1");
  await Promise.all([once(proxy, "listening"), once(control, "listening")]);
  t.after(() => {
    proxy.close();
    control.close();
  });
  return [`http://127.0.0.1:${proxy.address().port}`, `http://127.0.0.1:${control.address().port}/`];
}

describe("the Python client, from its wheel", () => {
  let python;

  before(async (t) => {
    const folder = emptyFolder({ after: (remove) => process.once("exit", remove) });
    await run(folder, "python3", "-m", "venv", "environment");
    python = join(folder, "environment/bin/python");
    const pip = (...args) => run(folder, python, "-m", "pip", "--quiet", "--disable-pip-version-check", ...args);
    await pip("wheel", "--no-deps", "--wheel-dir", "wheels", PACKAGE);
    const [wheel] = readdirSync(join(folder, "wheels"));
    assert.equal(wheel, `parlor_client-${VERSION}-py3-none-any.whl`);
    await pip("install", `${join(folder, "wheels", wheel)}[media]`);
    assert.equal((await run(folder, python, "-c", "import parlor; print(parlor.__version__)")).trim(), VERSION);
  });

  test("all protocols, and resumption", async (t) => {
    const server = await startServer();
    t.after(() => server.stop("SIGKILL"));
    const [proxy, control] = await openProxy(t, server.port);
    const script = fileURLToPath(new URL("python/check_protocols.py", import.meta.url));
    const output = await run(ROOT, python, script, server.url, proxy, control);
    assert.match(output, /EnvelopeClient resumes\nSocketIoClient resumes/);
  });

  for (const protocol of ["envelope", "socketio"]) {
    test(`the example completes a call with Chromium over ${protocol}`, async (t) => {
      const server = await startServer({ env: { HOST: "0.0.0.0" } });
      t.after(() => server.stop("SIGKILL"));
      const url = `http://127.0.0.1:${server.port}`;
      const browser = await launch();
      t.after(() => browser.close());
      const ada = await Person.open(browser, "Ada", { permissions: ["camera", "microphone"] });
      await ada.join(url, "try");

      const args = [join(PACKAGE, "examples/call.py"), url, "try", "--protocol", protocol];
      const call = spawn(python, args, { stdio: ["ignore", "pipe", "inherit"] });
      const kill = () => call.kill("SIGKILL");
      process.once("exit", kill);
      t.after(kill);
      // Both directions: the page decodes the moving bar, and the program receives frames of the page.
      await ada.seesAnyPeer(8);
      let last;
      for await (const line of createInterface({ input: call.stdout })) {
        last = JSON.parse(line)[ada.id];
        if (last && last.video > 10 && last.audio > 20) break;
      }
      assert.ok(last?.video > 10 && last.audio > 20, JSON.stringify(last));
      call.kill("SIGINT");
      assert.equal((await once(call, "exit"))[0], 0);
      await ada.until("Python has left", () => document.querySelectorAll(".tile[data-user-id]").length <= 1);
    });
  }
});
