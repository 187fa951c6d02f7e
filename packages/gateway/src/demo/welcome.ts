// What the demo prints when it is ready: where things are and three requests worth pasting.

import { addressText } from "../config/addresses.js";
import type { Address } from "../config/config.js";
import { OPENING_BALANCE } from "./ledger.js";

export interface Place {
  readonly gateway: Address;
  readonly admin: Address | null;
  readonly bank: Address;
  /** The folder, as the user may type it. */
  readonly data: string;
  readonly pid: number;
  /** Transfers that an earlier run made. */
  readonly transfers: number;
}

type Paint = (style: "bold" | "dim", text: string) => string;

/** The same key on every start, so that a retry pasted from an earlier run still is one. */
const DEMO_KEY = "rent-july";

/** Each command is one line: it may be wrapped by the terminal, and can be pasted all the same. */
export function welcome(place: Place, paint: Paint): string {
  const origin = `http://${addressText(reachable(place.gateway))}`;
  const transfer = `curl -i ${origin}/transfers -H 'Idempotency-Key: ${DEMO_KEY}' -d from=alice -d to=bob -d amount=25`;
  const balance = `curl ${origin}/accounts/alice`;
  const row = (name: string, value: string, about: string): string =>
    `  ${name.padEnd(8)} ${value.padEnd(24)}  ${paint("dim", about)}`;
  const made = place.transfers === 1 ? "1 transfer" : `${place.transfers} transfers`;
  const earlier = `This goes on from an earlier run, which made ${made}; rm -r ${place.data} starts over.`;
  return [
    "",
    paint("bold", "Onceward is in front of a small bank."),
    "",
    row("gateway", origin, "send requests here"),
    row(
      "bank",
      `http://${addressText(reachable(place.bank))}`,
      `behind it: alice and bob began with ${OPENING_BALANCE} each`,
    ),
    ...(place.admin === null
      ? []
      : [row("admin", `http://${addressText(reachable(place.admin))}`, "the runs are at /api/runs")]),
    row("data", place.data, "on disk, so it survives a restart"),
    "",
    ...(place.transfers === 0 ? [] : [earlier, ""]),
    "Paste these into another terminal.",
    "",
    "1  Send money, with an idempotency key:",
    "",
    paint("bold", transfer),
    "",
    "2  The very same again: the first answer comes back, and no money moves:",
    "",
    paint("bold", transfer),
    "",
    "3  The balance moved once:",
    "",
    paint("bold", balance),
    "",
    "With another amount the key is refused (422).",
    `Now kill -9 ${place.pid}: the gateway and the bank die with it. Start again, and both come back with their data:`,
    "paste 2 once more, and you get the same answer, and there is still one transfer.",
    "",
  ].join("\n");
}

/** A client on this machine reaches every interface by loopback. */
function reachable({ host, port }: Address): Address {
  return { host: host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host, port };
}
