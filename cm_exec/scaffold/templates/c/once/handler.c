/* A greeting. The query comes on stdin, the result goes to stdout, and stderr is the log. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

/* Returns the name as JSON writes it, without its quotes; NULL if there is none. C has no JSON library; copying the
 * raw text preserves Unicode and escapes. With more inputs use a library, such as yyjson or cJSON. */
static const char *name_of(const char *query, int *length)
{
    const char *name = strstr(query, "\"name\""), *end;

    if (!name)
        return NULL;
    name += strlen("\"name\"");
    name += strspn(name, " \t\r\n:");
    if (*name++ != '"')
        return NULL;
    for (end = name; *end && *end != '"'; end++)
        if (*end == '\\' && end[1])
            end++;
    *length = (int)(end - name);
    return *end ? name : NULL;
}

int main(void)
{
    char *query = NULL;
    const char *name;
    size_t room = 0;
    int length = 0;

    if (getdelim(&query, &room, '\0', stdin) < 0) { /* JSON text has no NUL: this is all of it */
        fputs("there is no query\n", stderr);
        return 1;
    }
    name = name_of(query, &length);
    if (!name || !length) {
        fputs("the name is empty\n", stderr);
        return 1;
    }
    printf("\"Hello, %.*s!\"\n", length, name);
    return fflush(stdout) ? 1 : 0;
}
