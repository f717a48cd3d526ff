/**
 * A call through a TURN server only, with the credentials that Parlor issues, and expired credentials. The server requires access tokens,
 * which the demo takes from its address.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { launch, Person } from "./support/people.js";
import { eventually, startServer } from "./support/server.js";
import { JWT_SECRET, token } from "./support/token.js";
import { relayOnly, startTurn } from "./support/turn.js";

const TURN_SECRET = "a secret of the TURN server";
/** Lifetime of credentials that expire during the test, in seconds. */
const SHORT_TTL = 1;

describe("through a TURN server", () => {
  let turn, server, shortLived, browser, ada, grace;

  before(async () => {
    turn = await startTurn(TURN_SECRET);
    const env = { TURN_URLS: turn.url, TURN_SECRET, JWT_SECRET };
    server = await startServer({ env });
    shortLived = await startServer({ env: { ...env, JWT_SECRET: "", TURN_TTL_SECONDS: String(SHORT_TTL) } });
    browser = await launch();
    [ada, grace] = await Promise.all(["Ada", "Grace"].map((name) => Person.open(browser, name)));
    for (const person of [ada, grace]) await person.context.addInitScript(relayOnly);
  });

  after(async () => {
    await browser?.close();
    await shortLived?.stop();
    await server?.stop();
    await turn?.stop();
  });

  for (const protocols of [["Session", "Session"], ["Socket.IO", "Socket.IO"], ["Envelope", "Topic"]]) {
    test(`${protocols.join(" and ")}: two see each other through the TURN relay only`, async () => {
      const room = protocols.join("-").toLowerCase();
      const people = [ada, grace];
      for (const [index, person] of people.entries()) {
        await person.join(`${server.url}/?token=${token(person.name.toLowerCase())}`, room, protocols[index]);
      }
      await Promise.all(people.map((person) => person.seesAnyPeer()));
      for (const person of people) {
        const types = await person.page.evaluate(selectedCandidates);
        assert.deepEqual(types, { local: "relay", remote: "relay" }, person.name);
      }
      await Promise.all(people.map((person) => person.page.goto("about:blank")));
      await eventually("no peer is left", server.health, ({ participants }) => participants === 0);
    });
  }

  test("a page without a token is refused", async () => {
    await ada.requestJoin(server.url, "standup");
    await ada.page.getByText("This server asks for a token").waitFor();
    assert.equal((await fetch(`${server.url}/api/ice-servers`)).status, 401);
  });

  test("expired credentials are refused", async () => {
    await ada.page.goto(`${shortLived.url}/favicon.svg`);
    const { iceServers } = await (await fetch(`${shortLived.url}/api/ice-servers`)).json();
    const [{ username }] = iceServers;
    const expiry = Number(username.split(":")[0]);
    // The TURN server counts whole seconds.
    await eventually("the credentials have expired", async () => Date.now() / 1000, (now) => now > expiry + 1);
    const { candidates, error } = await ada.page.evaluate(collectCandidates, iceServers);
    assert.deepEqual([candidates, error], [[], 401]);
    // The same TURN server accepts unexpired credentials of the same secret: the expiry was the only reason.
    const response = await fetch(`${server.url}/api/ice-servers?token=${token("ada")}`);
    const fresh = await ada.page.evaluate(collectCandidates, (await response.json()).iceServers);
    assert.deepEqual([fresh.candidates, fresh.error], [["relay"], null]);
  });
});

/** Runs in the page: returns the types of the selected candidates. */
async function selectedCandidates() {
  const [connection] = window.parlor.peers().values();
  const reports = await connection.getStats();
  const transport = [...reports.values()].find(({ type }) => type === "transport");
  const pair = reports.get(transport.selectedCandidatePairId);
  const kind = (id) => reports.get(id).candidateType;
  return { local: kind(pair.localCandidateId), remote: kind(pair.remoteCandidateId) };
}

/** Runs in the page: returns the types of the candidates from these servers, and the error code of a refusal. */
async function collectCandidates(iceServers) {
  const connection = new RTCPeerConnection({ iceServers, iceTransportPolicy: "relay" });
  const candidates = [];
  let error = null;
  connection.addEventListener("icecandidateerror", ({ errorCode }) => (error = errorCode));
  const done = new Promise((resolve) => {
    connection.addEventListener("icecandidate", ({ candidate }) => {
      if (!candidate) resolve();
      else if (candidate.candidate) candidates.push(candidate.type);
    });
  });
  connection.createDataChannel("");
  await connection.setLocalDescription();
  await done;
  connection.close();
  // There is one for each network of this machine.
  return { candidates: [...new Set(candidates)], error };
}
