build: ## compile the handler
	cargo build --release
