// The example page against a running ledger: `LEDGER` names it, with sessions and checkouts (see tests/client.rs).

import assert from "node:assert/strict";
import { test } from "node:test";
import { checkoutOf, show } from "../dist/example/checkout.js";
import { LedgerError, answerOf, createLedger, verifyPayment } from "../dist/src/index.js";

const { url, sessions, checkouts, serviceKey } = JSON.parse(process.env.LEDGER);
const as = (token) => createLedger({ baseUrl: url, token: () => token });
const page = () => ({ message: { textContent: null }, balance: { textContent: null } });
const address = (checkout) => checkoutOf(new URLSearchParams(checkout));

test("whoever paid sees the credits, again and again", async () => {
  for (const _ of [1, 2]) {
    const shown = page();
    await show(shown, as(sessions.buyer), address(checkouts.paid));
    assert.equal(shown.message.textContent, "500 credits are yours.");
    assert.equal(shown.balance.textContent, "520");
  }
});

test("somebody else's payment is not shown as one's own", async () => {
  const shown = page();
  await show(shown, as(sessions.other), address(checkouts.paid));
  assert.equal(shown.message.textContent, "This payment was made by another account.");
  assert.equal(shown.balance.textContent, "0");
});

test("a payment that nobody knows of yet is asked for again, and then left to the webhook", async () => {
  let asked = 0;
  const counting = (...request) => {
    asked += 1;
    return fetch(...request);
  };
  const ledger = createLedger({ baseUrl: url, token: () => sessions.buyer, fetch: counting });
  const verification = await verifyPayment(ledger, checkouts.unknown, { tries: 2 });
  assert.deepEqual(verification, { success: false, status: "pending" });
  assert.equal(asked, 2);
  const shown = page();
  await show(shown, ledger, checkouts.unknown, { tries: 1 });
  assert.match(shown.message.textContent, /not confirmed yet/);
  assert.equal(shown.balance.textContent, "520");
});

test("without a checkout there is only the balance", async () => {
  const shown = page();
  await show(shown, as(sessions.buyer), address({}));
  assert.equal(shown.message.textContent, "There is no payment to look for.");
  assert.equal(shown.balance.textContent, "520");
});

test("a backend reads, and is told by a code what it may not", async () => {
  const ledger = as(serviceKey);
  const path = { user_id: "user_buyer" };
  const { items } = answerOf(await ledger.GET("/v1/users/{user_id}/entries", { params: { path, query: { limit: 1 } } }));
  assert.equal(items[0].type, "CreditsPurchased");
  const refused = await ledger.GET("/v1/admin/overview");
  assert.throws(() => answerOf(refused), (error) => error instanceof LedgerError && error.problem.code === "insufficient_scope");
});
