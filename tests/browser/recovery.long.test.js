/** The tests of `recovery.test.js` with a network that is away for as long as the server waits by default. */
process.env.DROP_SECONDS = "10";
await import("./recovery.test.js");
