# `make demo` shows the main job; `make test` runs all tests. Both install what is missing, Rust apart.
.PHONY: demo test bench postgres

demo: postgres
	cargo run --release --locked -- demo

test: postgres
	cargo fmt --all --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
	cargo bench --locked --no-run
	cargo test --locked

bench: postgres
	cargo bench --locked --bench webhooks

postgres:
	@.ci/install-postgres
