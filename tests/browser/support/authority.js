/**
 * A certificate authority of a test's own, and a browser's home in which it is trusted.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export function makeAuthority() {
  const folder = mkdtempSync(join(tmpdir(), "parlor-tls-"));
  const file = (name) => join(folder, name);
  const openssl = (...given) => execFileSync("openssl", given, { cwd: folder, stdio: "pipe" });
  const newKey = (name) => openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", name);

  newKey("authority.key");
  openssl("req", "-x509", "-new", "-key", "authority.key", "-out", "authority.pem", "-days", "2", "-subj", "/CN=an authority of a test",
    "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign");
  newKey("key.pem");
  openssl("req", "-new", "-key", "key.pem", "-out", "request.pem", "-subj", "/CN=localhost");
  writeFileSync(file("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n");
  openssl("x509", "-req", "-in", "request.pem", "-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial",
    "-out", "certificate.pem", "-days", "2", "-extfile", "names");

  // Where Chromium on Linux looks for authorities beside its own.
  const home = file("home");
  const database = `sql:${join(home, ".pki/nssdb")}`;
  mkdirSync(join(home, ".pki/nssdb"), { recursive: true });
  const certutil = (...given) => execFileSync("certutil", given, { cwd: folder, stdio: "pipe" });
  certutil("-N", "-d", database, "--empty-password");
  certutil("-A", "-d", database, "-n", "test", "-t", "C,,", "-i", "authority.pem");

  return {
    home,
    /** For the server. */
    settings: { TLS_CERT: file("certificate.pem"), TLS_KEY: file("key.pem") },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
