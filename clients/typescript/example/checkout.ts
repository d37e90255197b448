// The page to which a buyer comes back from checkout: verifies the payment, says what came of it, shows the balance.

import { type Checkout, type Ledger, LedgerError, type Verification, answerOf, verifyPayment } from "../src/index.js";

/** Where the page says something. */
export interface Page {
  message: { textContent: string | null };
  balance: { textContent: string | null };
}

/** What the provider's checkout put into the address; `undefined`: this is no way back from a checkout. */
export function checkoutOf(query: URLSearchParams): Checkout | undefined {
  const session = query.get("session_id");
  if (session) return { stripe_session_id: session };
  const order = query.get("razorpay_order_id");
  const payment = query.get("razorpay_payment_id");
  const signature = query.get("razorpay_signature");
  if (!order || !payment || !signature) return undefined;
  return { razorpay_order_id: order, razorpay_payment_id: payment, razorpay_signature: signature };
}

/** Verifies the checkout, if there was one, and shows the balance whatever came of it. */
export async function show(
  page: Page,
  ledger: Ledger,
  checkout: Checkout | undefined,
  options: { tries?: number } = {},
): Promise<void> {
  if (checkout) {
    try {
      page.message.textContent = said(await verifyPayment(ledger, checkout, options));
    } catch (error) {
      page.message.textContent = refused(error);
    }
  } else {
    page.message.textContent = "There is no payment to look for.";
  }
  const { available } = answerOf(await ledger.GET("/v1/me/balance"));
  page.balance.textContent = String(available);
}

function said(verification: Verification): string {
  if (verification.success) return `${verification.credits_added} credits are yours.`;
  switch (verification.status) {
    case "pending":
      return "Your payment is not confirmed yet. The credits will appear by themselves.";
    case "no_payment_required":
      return "There was nothing to pay.";
    case "refunded":
    case "lost":
      return "This payment was given back.";
    case "failed":
    case "expired":
      return "The payment did not succeed. You were not charged.";
  }
}

function refused(error: unknown): string {
  if (!(error instanceof LedgerError)) throw error;
  switch (error.problem.code) {
    case "not_your_purchase":
      return "This payment was made by another account.";
    case "unauthenticated":
      return "Please sign in again.";
    default:
      return "Your payment could not be looked up now. The credits will appear by themselves.";
  }
}
