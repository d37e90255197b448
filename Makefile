# `make demo` shows the main job; `make test` runs all tests. Both install what is missing, Rust apart.
.PHONY: demo test soak bench deny advisories postgres sdks schemathesis

demo: postgres
	cargo run --release --locked -- demo

test: postgres sdks schemathesis deny
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps
	cargo bench --locked --no-run
	cargo test --locked --workspace
	cargo test --locked -p credit-ledger --lib --features parquet parquet

soak: postgres
	cargo test --locked --test simulation soak -- --ignored --nocapture

bench: postgres
	cargo bench --locked --bench webhooks
	cargo bench --locked --bench spend
	cargo bench --locked --bench audit -- --events 1000000

# What the program is made of: licences, what is banned, where it comes from. With advisories, which are fetched.
deny:
	@.ci/deny

advisories:
	@.ci/deny advisories

postgres:
	@.ci/install-postgres

sdks:
	@.ci/install-sdks

schemathesis:
	@.ci/install-schemathesis
