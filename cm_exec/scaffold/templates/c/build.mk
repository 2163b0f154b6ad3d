build: handler ## compile the handler

handler: handler.c
	$(CC) -O2 -Wall -Wextra -o $@ $<
