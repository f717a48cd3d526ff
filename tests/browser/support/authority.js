/**
 * A certificate authority for tests, and a home folder in which browsers trust it.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Creates the authority, a certificate for localhost, and the home folder. */
export function makeAuthority() {
  const folder = mkdtempSync(join(tmpdir(), "parlor-tls-"));
  const file = (name) => join(folder, name);
  const openssl = (...args) => execFileSync("openssl", args, { cwd: folder, stdio: "pipe" });
  const newKey = (name) => openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", name);

  newKey("authority.key");
  openssl("req", "-x509", "-new", "-key", "authority.key", "-out", "authority.pem", "-days", "2", "-subj", "/CN=test authority",
    "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign");
  newKey("key.pem");
  openssl("req", "-new", "-key", "key.pem", "-out", "request.pem", "-subj", "/CN=localhost");
  writeFileSync(file("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n");
  openssl("x509", "-req", "-in", "request.pem", "-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial",
    "-out", "certificate.pem", "-days", "2", "-extfile", "names");

  // The database in which Chromium on Linux looks for additional authorities.
  const home = file("home");
  const database = `sql:${join(home, ".pki/nssdb")}`;
  mkdirSync(join(home, ".pki/nssdb"), { recursive: true });
  const certutil = (...args) => execFileSync("certutil", args, { cwd: folder, stdio: "pipe" });
  certutil("-N", "-d", database, "--empty-password");
  certutil("-A", "-d", database, "-n", "test", "-t", "C,,", "-i", "authority.pem");

  return {
    home,
    /** Settings of the server. */
    settings: { TLS_CERT: file("certificate.pem"), TLS_KEY: file("key.pem") },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
