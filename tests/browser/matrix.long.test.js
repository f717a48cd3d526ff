/**
 * Every version of mediasoup-client that deployed frontends use, with every handler, in both browsers.
 */
import { CELLS, runMatrix } from "./matrix/run.js";

const of = (browser) => CELLS.filter((cell) => cell.browser === browser);
const firefox = of("firefox");
// The oldest in one browser with the newest in the other, and so on.
const pairs = of("chromium").slice(-firefox.length).reverse().map((cell, index) => [cell, firefox[index]]);

runMatrix(CELLS, firefox.length ? pairs : []);
