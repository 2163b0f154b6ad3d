/* The Adler-32 checksum of a text: {"text": "..."}, taken as it stands between the quotes. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t length;

    setvbuf(stdout, NULL, _IOLBF, 0); /* write each result at once */
    while ((length = getline(&line, &room, stdin)) > 0) {
        unsigned a = 1, b = 0;
        char *text = strstr(line, "\"text\""), *end = strrchr(line, '"');
        if (!text || !(text = strchr(text + 6, '"')) || text == end) {
            fputs("the query has no text\n", stderr);
            return 1;
        }
        for (text++; text < end; text++) {
            a = (a + (unsigned char)*text) % 65521;
            b = (b + a) % 65521;
        }
        printf("{\"adler32\": \"%08x\"}\n", b << 16 | a);
    }
    free(line);
    return 0;
}
