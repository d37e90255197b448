// The providers' own libraries sign the deliveries that they are given, and judge those that we signed.
//
// stdin:  {"sign": [{provider, secret, id, body, sent_at_s?}], "judge": [{provider, secret, headers, body}]}
// stdout: {"signed": [headers], "judged": [null, or why it is refused]}
//
// It must know nothing of our own code: what it says is the other side's word.

import { createHmac } from "node:crypto";
import { text } from "node:stream/consumers";
import Razorpay from "razorpay";
import Stripe from "stripe";
import { Webhook } from "svix";

const now_s = () => Math.floor(Date.now() / 1000);

const providers = {
  clerk: {
    sign({ secret, id, body, sent_at_s = now_s() }) {
      const signature = new Webhook(secret).sign(id, new Date(sent_at_s * 1000), body);
      return { "svix-id": id, "svix-timestamp": `${sent_at_s}`, "svix-signature": signature };
    },
    judge({ secret, headers, body }) {
      new Webhook(secret).verify(body, headers);
    },
  },
  stripe: {
    sign({ secret, body, sent_at_s = now_s() }) {
      const header = { payload: body, secret, timestamp: sent_at_s };
      return { "stripe-signature": Stripe.webhooks.generateTestHeaderString(header) };
    },
    judge({ secret, headers, body }) {
      Stripe.webhooks.constructEvent(body, headers["stripe-signature"], secret);
    },
  },
  razorpay: {
    // The library only validates. Its documentation says how to sign; the library has the last word on it.
    sign({ secret, id, body }) {
      const signature = createHmac("sha256", secret).update(body).digest("hex");
      const headers = { "x-razorpay-signature": signature, "x-razorpay-event-id": id };
      this.judge({ secret, headers, body });
      return headers;
    },
    judge({ secret, headers, body }) {
      const signature = headers["x-razorpay-signature"];
      if (!Razorpay.validateWebhookSignature(body, signature, secret)) throw new Error("not valid");
    },
  },
};

const why = (judge) => {
  try {
    judge();
    return null;
  } catch (error) {
    return error.message;
  }
};

const { sign, judge } = JSON.parse(await text(process.stdin));
const signed = sign.map((delivery) => providers[delivery.provider].sign(delivery));
const judged = judge.map((delivery) => why(() => providers[delivery.provider].judge(delivery)));
process.stdout.write(JSON.stringify({ signed, judged }));
