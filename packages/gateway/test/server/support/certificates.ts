// Certificates for tests, made by the openssl of the machine: an authority, and what it signs.

import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

export interface Certificate {
  readonly certFile: string;
  readonly keyFile: string;
}

/** Makes an authority in a folder; `issue` signs certificates for a name. */
export function authority(folder: string): {
  readonly caFile: string;
  issue(name: string, subjectAltName?: string): Certificate;
} {
  const ca = { certFile: join(folder, "ca.pem"), keyFile: join(folder, "ca.key") };
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  openssl(["req", "-x509", ...key, "-keyout", ca.keyFile, "-out", ca.certFile, "-days", "2", "-subj", "/CN=Test CA"]);
  return {
    caFile: ca.certFile,
    issue(name, subjectAltName = `DNS:${name}`) {
      const stem = join(folder, name.replaceAll(/[^a-z0-9]/gi, "-"));
      const made = { certFile: `${stem}.pem`, keyFile: `${stem}.key` };
      writeFileSync(`${stem}.ext`, `subjectAltName=${subjectAltName}\n`);
      openssl(["req", "-new", ...key, "-keyout", made.keyFile, "-out", `${stem}.csr`, "-subj", `/CN=${name}`]);
      openssl([
        "x509",
        "-req",
        "-in",
        `${stem}.csr`,
        "-CA",
        ca.certFile,
        "-CAkey",
        ca.keyFile,
        "-CAcreateserial",
        "-out",
        made.certFile,
        "-days",
        "2",
        "-extfile",
        `${stem}.ext`,
      ]);
      return made;
    },
  };
}

function openssl(args: readonly string[]): void {
  execFileSync("openssl", args, { stdio: "pipe" });
}
