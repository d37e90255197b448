//! The providers' APIs: what they know of payments, when they are up, slow, or down.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use serde_json::Value;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

/// How they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    Fine,
    /// They take longer than usual, see [`DELAYS_MS`].
    Slow,
    Down,
}

/// All of them at one address.
pub struct Apis {
    server: MockServer,
    known: Arc<Known>,
}

struct Known {
    /// What is answered, by path.
    answers: HashMap<String, Value>,
    weather: RwLock<Weather>,
    asked: AtomicUsize,
}

/// How long an answer takes while they are slow: some come late, others later than anybody waits.
const DELAYS_MS: [u64; 4] = [300, 1200, 2200, 4000];

impl Apis {
    pub async fn start(answers: HashMap<String, Value>) -> Self {
        let server = MockServer::builder()
            .disable_request_recording()
            .start()
            .await;
        let weather = RwLock::new(Weather::Fine);
        let known = Arc::new(Known {
            answers,
            weather,
            asked: AtomicUsize::new(0),
        });
        let answer = Answer(Arc::clone(&known));
        Mock::given(any()).respond_with(answer).mount(&server).await;
        Self { server, known }
    }

    pub fn origin(&self) -> String {
        self.server.uri()
    }

    pub fn set(&self, weather: Weather) {
        *self.known.weather.write().unwrap() = weather;
    }
}

struct Answer(Arc<Known>);

impl Respond for Answer {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let answer = match self.0.answers.get(request.url.path()) {
            Some(body) => ResponseTemplate::new(200).set_body_json(body),
            None => ResponseTemplate::new(404),
        };
        match *self.0.weather.read().unwrap() {
            Weather::Fine => answer,
            Weather::Slow => {
                let number = self.0.asked.fetch_add(1, Ordering::Relaxed);
                answer.set_delay(Duration::from_millis(DELAYS_MS[number % DELAYS_MS.len()]))
            }
            Weather::Down => ResponseTemplate::new(500),
        }
    }
}
