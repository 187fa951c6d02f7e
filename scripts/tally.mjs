// Prints "N passed, N failed" from the JSON report that vitest wrote; the last line of .ci/run.
import { readFileSync } from "node:fs";

const text = readFileSync(process.argv[2], "utf8");
if (text === "") {
  process.stderr.write("No report: the tests did not run to their end.\n");
  process.exit(1);
}

const report = JSON.parse(text);
// A file that failed to load has no tests to count, and is a failure all the same.
const brokenFiles = report.testResults.filter(
  ({ status, assertionResults }) => status === "failed" && !assertionResults.some((test) => test.status === "failed"),
).length;
const failed = report.numFailedTests + brokenFiles;

process.stdout.write(`${report.numPassedTests} passed, ${failed} failed\n`);
process.exitCode = failed === 0 && report.success ? 0 : 1;
