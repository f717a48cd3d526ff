// Every version of mediasoup-client that deployed frontends use, with every handler for Chromium that it has.

import { runMatrix } from './support/run-matrix.js'
import { CELLS } from './support/matrix.js'

runMatrix(CELLS)
