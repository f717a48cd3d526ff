/**
 * Access tokens for tests.
 */
import { createHmac } from "node:crypto";

/** The key that signs them: the setting `JWT_SECRET` of the server. */
export const JWT_SECRET = "a test secret of thirty-two bytes or more";

/**
 * Returns a token.
 * @param {string} sub the subject
 * @param {number} [seconds] time until it expires
 */
export function token(sub, seconds = 600) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub, name: sub, exp: Math.ceil(Date.now() / 1000) + seconds })}`;
  return `${signed}.${createHmac("sha256", JWT_SECRET).update(signed).digest("base64url")}`;
}
