.PHONY: check test
check:
	cargo fmt --check
test:
	cargo test
