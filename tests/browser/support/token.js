/**
 * Tokens of a test's own.
 */
import { createHmac } from "node:crypto";

/** What the server is to know of them. */
export const JWT_SECRET = "thirty-two bytes are the least of it";

/**
 * @param {string} sub whose it is
 * @param {number} [seconds] until when it is good, from now
 */
export function token(sub, seconds = 600) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub, name: sub, exp: Math.ceil(Date.now() / 1000) + seconds })}`;
  return `${signed}.${createHmac("sha256", JWT_SECRET).update(signed).digest("base64url")}`;
}
