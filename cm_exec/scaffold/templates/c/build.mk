build: $(patsubst %.c,bin/%,$(wildcard *.c)) ## compile the handlers

bin/%: %.c
	@mkdir -p bin
	$(CC) -O2 -Wall -Wextra -o $@ $<
