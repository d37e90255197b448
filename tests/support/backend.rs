//! What the product's backend does with credits.

use reqwest::Method;
use serde_json::{Value, json};

use super::app::{Answer, SERVICE_KEY, TestApp, answer};
use super::deliveries::unique;

impl TestApp {
    /// A `POST` of the product's backend under an idempotency key.
    pub async fn post_under(&self, key: &str, path: &str, body: &Value) -> Answer {
        self.post_under_as(SERVICE_KEY, key, path, body).await
    }

    /// The same by whoever has this API key.
    pub async fn post_under_as(
        &self,
        api_key: &str,
        key: &str,
        path: &str,
        body: &Value,
    ) -> Answer {
        let request = self.request(Method::POST, path).bearer_auth(api_key);
        answer(request.header("idempotency-key", key).json(body)).await
    }

    /// A `POST` of the product's backend under a key that nobody used before.
    pub async fn post_new(&self, path: &str, body: &Value) -> Answer {
        self.post_under(&unique("key_"), path, body).await
    }

    /// A `PUT` of the product's backend without a key.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        let request = self.request(Method::PUT, path).bearer_auth(SERVICE_KEY);
        answer(request.json(body)).await
    }

    /// Gives a user credits.
    pub async fn grant(&self, user_id: &str, amount: i64) -> Answer {
        let path = format!("/v1/users/{user_id}/grants");
        let body = json!({"amount": amount, "reason": "a test"});
        let granted = self.post_new(&path, &body).await;
        granted.assert_ok(&json!({"granted": amount}));
        granted
    }

    /// Uses a user's credits.
    pub async fn spend(&self, user_id: &str, amount: i64) -> Answer {
        let path = format!("/v1/users/{user_id}/spends");
        self.post_new(&path, &json!({"amount": amount})).await
    }

    /// Sets credits of a user aside.
    pub async fn hold(&self, user_id: &str, amount: i64) -> Answer {
        let path = format!("/v1/users/{user_id}/holds");
        self.post_new(&path, &json!({"amount": amount})).await
    }

    /// What the backend is told that a user has: balance, held, available and debt.
    pub async fn account(&self, user_id: &str) -> [i64; 4] {
        let shown = self.get(&format!("/v1/users/{user_id}/balance")).await;
        assert_eq!(shown.status, 200, "{shown:?}");
        ["balance", "held", "available", "debt"].map(|name| shown.body[name].as_i64().unwrap())
    }
}

impl Answer {
    /// Whether it says that nothing new was done.
    pub fn is_hit(&self) -> bool {
        self.headers
            .get("idempotency-hit")
            .is_some_and(|hit| hit == "true")
    }

    /// A text of the body.
    #[track_caller]
    pub fn text(&self, name: &str) -> String {
        let text = self.body[name].as_str();
        text.unwrap_or_else(|| panic!("{name} of {self:?}"))
            .to_owned()
    }
}
