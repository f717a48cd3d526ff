/** The tests of `recovery.test.js` with a network loss as long as the default of `RESUME_SECONDS`. */
process.env.DROP_SECONDS = "10";
await import("./recovery.test.js");
