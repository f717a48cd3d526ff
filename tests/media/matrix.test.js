// The oldest and the newest of the versions in matrix.long.test.js.

import { runMatrix } from './support/run-matrix.js'
import { CELLS } from './support/matrix.js'

runMatrix([CELLS[0], CELLS.at(-1)])
