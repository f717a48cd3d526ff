/**
 * The official Socket.IO client, from the server of this module: replaces `src/io.js` under `/client/`.
 *
 * @module io
 */
export { io } from "/socket.io/socket.io.esm.min.js";
