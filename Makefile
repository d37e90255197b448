# `make demo` shows the main job; `make test` runs all tests. Both install what is missing, Rust apart.
.PHONY: demo test bench postgres sdks schemathesis

demo: postgres
	cargo run --release --locked -- demo

test: postgres sdks schemathesis
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps
	cargo bench --locked --no-run
	cargo test --locked --workspace
	cargo test --locked -p credit-ledger --lib --features parquet parquet

bench: postgres
	cargo bench --locked --bench webhooks
	cargo bench --locked --bench spend
	cargo bench --locked --bench audit -- --events 1000000

postgres:
	@.ci/install-postgres

sdks:
	@.ci/install-sdks

schemathesis:
	@.ci/install-schemathesis
