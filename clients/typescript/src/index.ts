// A typed client of the ledger: every path, parameter, body and answer is checked against `schema.ts`, which is made from
// `../openapi.json` (`npm run generate`). Beside the bearer token and the waiting of `verifyPayment` it adds nothing.

import createClient, { type Client } from "openapi-fetch";
import type { components, paths } from "./schema.js";

export type { components, paths } from "./schema.js";

type Schemas = components["schemas"];
/** What a provider's checkout gave the browser. */
export type Checkout = Schemas["Checkout"];
/** Why something was not done; compare `code`. */
export type Problem = Schemas["Problem"];
/** What verifying a checkout comes to. `pending`: ask again later, the webhook books it all the same. */
export type Verification = Schemas["Verified"] | Schemas["NotPaid"];
/** Calls of the API: `ledger.GET("/v1/me/balance")`. */
export type Ledger = Client<paths, `${string}/${string}`>;

export interface Settings {
  /** Where the ledger answers, without a slash at the end. */
  baseUrl: string;
  /** A session token (in a browser) or an API key (in a backend); asked for each call, since session tokens are short-lived. */
  token: () => string | Promise<string>;
  /** What sends requests; the platform's `fetch` when nobody says. */
  fetch?: typeof globalThis.fetch;
}

/** The ledger, asked by whoever the token is of. */
export function createLedger({ baseUrl, token, fetch }: Settings): Ledger {
  const ledger = createClient<paths>({ baseUrl, ...(fetch && { fetch }) });
  ledger.use({
    async onRequest({ request }) {
      request.headers.set("authorization", `Bearer ${await token()}`);
      return request;
    },
  });
  return ledger;
}

/** The ledger did not do what was asked. */
export class LedgerError extends Error {
  constructor(readonly problem: Problem) {
    super(`${problem.code}: ${problem.detail}`);
    this.name = "LedgerError";
  }
}

/** The answer of a call, or a `LedgerError`. */
export function answerOf<T>(result: { data?: T; error?: Problem }): T {
  if (result.error !== undefined) throw new LedgerError(result.error);
  return result.data as T;
}

/**
 * Verifies a checkout, asking again while nobody knows of the money, at most so many times, as long after each other as
 * the ledger says. It may be called any number of times: the purchase is booked once.
 */
export async function verifyPayment(
  ledger: Ledger,
  checkout: Checkout,
  { tries = 5 }: { tries?: number } = {},
): Promise<Verification> {
  for (let left = tries; ; left -= 1) {
    const result = await ledger.POST("/v1/payments/verify", { body: checkout });
    const verification = answerOf<Verification>(result);
    if (result.response.status !== 202 || left <= 1) return verification;
    const wait_s = Number(result.response.headers.get("retry-after") ?? 1);
    await new Promise((done) => setTimeout(done, wait_s * 1000));
  }
}
