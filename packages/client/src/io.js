/**
 * The official Socket.IO client, from npm. Under `/client/` a Parlor server replaces this file by one that loads its own copy.
 *
 * @module io
 */
export { io } from "socket.io-client";
