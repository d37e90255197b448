//! `openapi`: print the description of the API. It needs neither settings nor a database.

use std::process::ExitCode;

use crate::http::openapi;

pub fn run() -> ExitCode {
    print!("{}", openapi::text());
    ExitCode::SUCCESS
}
